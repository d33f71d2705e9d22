//! What is said of files: those of settings, and what is saved.

use std::path::Path;

use super::{Lang, one_line};

impl Lang {
    pub(crate) fn without_config(self) -> &'static str {
        self.pick(
            "sửa tệp đó, hoặc dùng `--no-config` để bỏ qua các tệp thiết lập",
            "correct the file, or ignore the files of settings with `--no-config`",
        )
    }

    pub(crate) fn held_back(self, path: &Path, settings: &[String]) -> String {
        let (path, settings) =
            (one_line(&path.display().to_string()), one_line(&settings.join(", ")));
        match self {
            Self::Vi => format!(
                "{path} đặt {settings}; chưa có hiệu lực, vì bạn chưa cho phép tệp này như hiện nay. Hãy \
                 đọc nó, rồi chạy `rag-query trust`."
            ),
            Self::En => format!(
                "{path} sets {settings}, without effect, because you have not trusted the file as it is \
                 now. Read it, then run `rag-query trust`."
            ),
        }
    }

    pub(crate) fn trusted(self, path: &Path, revoked: bool, settings: &[String]) -> String {
        let path = one_line(&path.display().to_string());
        let what = match settings {
            [] => String::new(),
            settings => format!(" ({})", one_line(&settings.join(", "))),
        };
        match (self, revoked) {
            (Self::Vi, false) => {
                format!("✅ {path}: được phép đặt mọi thứ{what}, cho đến khi nó thay đổi")
            }
            (Self::En, false) => format!("✅ {path} may set everything{what} until it changes"),
            (Self::Vi, true) => format!("✅ {path}: không còn được phép"),
            (Self::En, true) => format!("✅ {path} is no longer trusted"),
        }
    }

    pub(crate) fn nothing_is_set_up(self) -> &'static str {
        self.pick(
            "chưa có gì để hỏi; ba bước đầu tiên:",
            "there is nothing to ask yet; the first three steps:",
        )
    }

    pub(crate) fn first_steps(self) -> [&'static str; 3] {
        match self {
            Self::Vi => [
                "   1. rag-query setup           chọn và tải các mô hình hợp với máy này",
                "   2. rag-query index THƯ-MỤC   đọc tài liệu của bạn",
                "   3. rag-query \"CÂU HỎI\"       hỏi",
            ],
            Self::En => [
                "   1. rag-query setup           chooses and downloads the models for this machine",
                "   2. rag-query index FOLDER    takes in your documents",
                "   3. rag-query \"QUESTION\"      asks",
            ],
        }
    }

    pub(crate) fn because_you_say_so(self) -> &'static str {
        self.pick("do bạn chọn", "your choice")
    }

    pub(crate) fn gpu_too_full(self, gpu: &str, free: &str, needed: &str) -> String {
        match self {
            Self::Vi => format!("{gpu} còn trống {free}, LLM 8B cần {needed}"),
            Self::En => format!("{gpu} has {free} free, and an 8B LLM needs {needed}"),
        }
    }

    pub(crate) fn profile_chosen(self, profile: &str, about: &str, why: &str) -> String {
        let (label, because) = (self.pick("Cấu hình", "Profile"), self.pick("vì", "because"));
        format!("🧭 {label} {profile}: {about}\n   {because}: {why}")
    }

    pub(crate) fn profile_remembered(self, profile: &str, path: &str) -> String {
        let path = one_line(path);
        match self {
            Self::Vi => format!("✅ {profile} được ghi vào {path}"),
            Self::En => format!("✅ {profile} is in {path} now"),
        }
    }

    pub(crate) fn not_built_yet(self, index: &str) -> String {
        let index = one_line(index);
        match self {
            Self::Vi => format!("chưa lập: `rag-query --index @{index} index`"),
            Self::En => format!("not built yet: `rag-query --index @{index} index`"),
        }
    }

    pub(crate) fn chunks_selected(self, selected: usize, all: usize) -> String {
        match self {
            Self::Vi => {
                format!("✅ {selected} trên {all} đoạn, theo --in, --type, --tag và --since")
            }
            Self::En => {
                format!("✅ {selected} of {all} chunks, by --in, --type, --tag and --since")
            }
        }
    }

    pub(crate) fn nothing_to_index(self) -> &'static str {
        self.pick(
            "không có gì để lập chỉ mục: hãy nêu tệp hoặc thư mục (`rag-query index THƯ-MỤC`), hoặc định \
             nghĩa một chỉ mục trong .rag-query.toml",
            "there is nothing to index: name files or folders (`rag-query index FOLDER`), or define an \
             index in .rag-query.toml",
        )
    }
}
