//! What is said in the dialogue, beside the answers.

use super::{Lang, one_line};

impl Lang {
    pub(crate) fn repl_banner(self) -> &'static str {
        self.pick(
            "Gõ câu hỏi, /help để xem lệnh, Ctrl-D để thoát.",
            "Type a question, /help for commands, Ctrl-D to quit.",
        )
    }

    pub(crate) fn forgotten(self) -> &'static str {
        self.pick("Đã quên cuộc trò chuyện.", "Started a new conversation.")
    }

    pub(crate) fn no_answer_yet(self) -> &'static str {
        self.pick("Chưa có câu trả lời nào.", "No answer yet.")
    }

    pub(crate) fn unknown_command(self, command: &str) -> String {
        match self {
            Self::Vi => format!("không có lệnh {command}; /help liệt kê các lệnh"),
            Self::En => format!("unknown command {command}; /help lists the commands"),
        }
    }

    pub(crate) fn dialogue_saved(self, file: &str) -> String {
        format!("✅ {} {}", self.pick("Đã lưu vào", "Saved as"), one_line(file))
    }

    pub(crate) fn dialogue_loaded(self, file: &str, questions: usize) -> String {
        let file = one_line(file);
        match self {
            Self::Vi => format!("✅ {file}: nói tiếp từ {questions} câu hỏi"),
            Self::En => {
                let what = if questions == 1 { "question" } else { "questions" };
                format!("✅ {file}: going on from {questions} {what}")
            }
        }
    }

    pub(crate) fn no_answer(self) -> &'static str {
        self.pick("(không có lời đáp)", "(no answer)")
    }

    pub(crate) fn only_names_of_sources(self) -> &'static str {
        self.pick(
            "Cuộc trò chuyện được nạp lại chỉ có tên các nguồn; /retry để hỏi lại câu này.",
            "A dialogue that was loaded has only the names of its sources; /retry asks this again.",
        )
    }

    pub(crate) fn answer_copied(self, bytes: &str) -> String {
        match self {
            Self::Vi => format!(
                "✅ Đã gửi câu trả lời ({bytes}) vào clipboard của terminal (OSC 52; có terminal không nhận)"
            ),
            Self::En => format!(
                "✅ Sent the answer ({bytes}) to the terminal's clipboard (OSC 52; not every terminal takes it)"
            ),
        }
    }

    pub(crate) fn is_set(self, name: &str, value: &str) -> String {
        match self {
            Self::Vi => format!("✅ {name} = {value}, từ câu hỏi tới"),
            Self::En => format!("✅ {name} = {value}, from the next question on"),
        }
    }

    pub(crate) fn keys(self) -> &'static str {
        self.pick(
            "Phím: Tab hoàn tất lệnh và tên; ↑ và Ctrl-R tìm trong lịch sử; Ctrl-C dừng câu trả lời; Ctrl-D thoát. \
             Văn bản dán nhiều dòng là một câu hỏi.",
            "Keys: Tab completes; ↑ and Ctrl-R search the history; Ctrl-C stops an answer; Ctrl-D quits. \
             What is pasted in several lines is one question.",
        )
    }
}
