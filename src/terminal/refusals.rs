//! What is said where a question is refused, or somebody judges whether to.

use std::time::Duration;

use super::{Lang, time};
use crate::answer::{LlmJudgement, Reason};
use crate::text::language::Language;

impl Lang {
    pub(crate) fn refused(self, reason: Reason) -> &'static str {
        match reason {
            Reason::EmptyIndex => self.pick(
                "   ⚠️  Chỉ mục chưa có gì; hãy thêm tài liệu bằng `rag-query index THƯ-MỤC`.",
                "   ⚠️  The index is empty; add documents with `rag-query index FOLDER`.",
            ),
            Reason::NotInPassages => self.pick(
                "   ⚠️  Mô hình đã đọc các đoạn tìm thấy và cho rằng chúng không có lời đáp (`--force` để vẫn trả lời, `search` để xem chúng).",
                "   ⚠️  The LLM read the passages and judges that they do not answer this (use `--force` to answer anyway, `search` to see them).",
            ),
            _ => self.pick(
                "   ⚠️  Tài liệu của bạn không có thông tin về câu hỏi này (`--force` để vẫn trả lời).",
                "   ⚠️  Your documents say nothing about this (use `--force` to answer anyway).",
            ),
        }
    }

    pub(crate) fn relevance_not_calibrated(self, embedder: &str) -> String {
        match self {
            Self::Vi => format!(
                "   ℹ️  Chưa hiệu chỉnh mức liên quan cho {embedder}: không câu hỏi nào bị từ chối vì tài liệu không có lời đáp."
            ),
            Self::En => format!(
                "   ℹ️  Relevance is not calibrated for {embedder}: no question is refused because the documents do not answer it."
            ),
        }
    }

    /// Why the LLM's own judgement is not calibrated, only relevance.
    pub(crate) fn servers_tell_no_probabilities(self) -> &'static str {
        self.pick(
            "   ℹ️  Chỉ hiệu chỉnh mức liên quan: máy chủ không cho biết xác suất của từng token, nên không hỏi LLM.",
            "   ℹ️  Only relevance is calibrated: servers do not tell the probabilities of tokens, so the LLM is not asked.",
        )
    }

    /// As above.
    pub(crate) fn judged_after_relevance(self) -> &'static str {
        self.pick(
            "   ℹ️  Chỉ hiệu chỉnh mức liên quan: lời của LLM được cân với nó, nên LLM chỉ được hỏi khi nó đã hiệu chỉnh.",
            "   ℹ️  Only relevance is calibrated: the LLM's word is weighed against it, so the LLM is asked once it is.",
        )
    }

    pub(crate) fn llm_not_for(self, name: &str, language: Language) -> String {
        match self {
            Self::Vi => format!(
                "   ℹ️  {name} không viết được ngôn ngữ của câu hỏi; trả lời bằng chính các câu trong tài liệu."
            ),
            Self::En => format!(
                "   ℹ️  {name} does not write {language}; answering with sentences from the documents."
            ),
        }
    }

    pub(crate) fn llm_cannot_read(self, name: &str) -> String {
        match self {
            Self::Vi => format!(
                "   ℹ️  {name} không đọc được ngôn ngữ của các đoạn tìm thấy; trả lời bằng chính các câu trong đó."
            ),
            Self::En => format!(
                "   ℹ️  {name} does not read the language of the passages; answering with sentences from them."
            ),
        }
    }

    pub(crate) fn judging(self) -> &'static str {
        self.pick("   ⚖️  Đọc và xét các đoạn… ", "   ⚖️  Reading and judging the passages… ")
    }

    pub(crate) fn judged(self, judgement: &LlmJudgement, took: Duration) -> String {
        let LlmJudgement { probability, refused_below, .. } = judgement;
        let below = self.pick("từ chối dưới", "refused below");
        format!(
            "{} ({} {:.0} %, {below} {:.0} %)",
            time(took),
            self.pick("có lời đáp:", "answered:"),
            100.0 * probability,
            100.0 * refused_below
        )
    }
}
