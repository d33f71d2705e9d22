//! Messages about an LLM on servers.

use std::time::Duration;

use super::messages::{Lang, time};
use crate::generation::local::placement::gpu::gib;
use crate::generation::local::placement::{GpuMemory, Placed};
use crate::generation::remote::Proxied;

impl Lang {
    pub(crate) fn llm_is_loaded(self, name: &str, placed: &Placed, took: Duration) -> String {
        format!("🔄 {} {name} {}", self.pick("Đã nạp", "Loaded"), self.llm_loaded(placed, took))
    }

    /// `memory` is what it had, measured before.
    pub(crate) fn llm_unloaded(self, name: &str, memory: &Placed, took: Duration) -> String {
        let freed = match &memory.memory {
            Some(GpuMemory { gpu, planned, measured }) => {
                let bytes = gib(measured.unwrap_or(*planned));
                format!(", {} {bytes} VRAM ({gpu})", self.pick("trả lại", "gave back"))
            }
            None => String::new(),
        };
        let what = self.pick("Đã gỡ", "Unloaded");
        format!("♻️  {what} {name} ({}){freed}, {}", memory.device, time(took))
    }

    pub(crate) fn asking_server(self) -> &'static str {
        self.pick(
            "🔌 Hỏi máy chủ đang chạy (`rag-query serve`); `--no-server` để trả lời tại đây",
            "🔌 Asking the server that is running (`rag-query serve`); `--no-server` answers here",
        )
    }

    pub(crate) fn serving_index(self, index: &str, chunks: usize) -> String {
        format!("   {} {index}: {}", self.pick("chỉ mục", "index"), self.chunks(chunks))
    }

    pub(crate) fn listening(self, address: &str, keep_alive: &str) -> String {
        match self {
            Self::Vi => format!(
                "✅ Sẵn sàng: http://{address}, và các lệnh của bạn trên máy này; LLM được giữ {keep_alive} sau câu trả lời cuối; Ctrl-C để dừng"
            ),
            Self::En => format!(
                "✅ Ready: http://{address}, and your own commands on this machine; the LLM stays {keep_alive} after its last answer; Ctrl-C stops"
            ),
        }
    }

    pub(crate) fn server_ending(self) -> &'static str {
        self.pick(
            "⏹  Đang dừng: chờ các câu trả lời dở dang…",
            "⏹  Stopping: waiting for the answers under way…",
        )
    }

    /// This many answers come before one's own.
    pub(crate) fn queued(self, ahead: usize) -> String {
        match self {
            Self::Vi => format!("   ⏳ Chờ mô hình: còn {ahead} câu trả lời phía trước"),
            Self::En => {
                let what = if ahead == 1 { "answer comes" } else { "answers come" };
                format!("   ⏳ Waiting for the LLM: {ahead} {what} first")
            }
        }
    }

    pub(crate) fn llm_remote(self, name: &str, place: &str) -> String {
        match self {
            Self::Vi => {
                format!("🔄 LLM: {name} ({place}): câu hỏi và các đoạn tìm được sẽ được gửi đến đó")
            }
            Self::En => {
                format!("🔄 LLM: {name} ({place}): the question and its passages are sent there")
            }
        }
    }

    pub(crate) fn sent_in_the_clear(self, host: &str) -> String {
        match self {
            Self::Vi => format!("kết nối đến {host} không được mã hóa; hãy dùng https://"),
            Self::En => format!("the connection to {host} is not encrypted; use https://"),
        }
    }

    /// Which proxy is asked, and whether it can read what is sent.
    pub(crate) fn through_proxy(self, proxied: &Proxied) -> String {
        let Proxied { host, proxy, variable, is_readable } = proxied;
        match (self, is_readable) {
            (Self::Vi, true) => format!(
                "{host} được hỏi qua proxy {proxy} ({variable}), và proxy đọc được câu hỏi cùng các đoạn; hãy dùng https:// hoặc NO_PROXY"
            ),
            (Self::En, true) => format!(
                "{host} is asked through the proxy {proxy} ({variable}), which can read the question and the passages; use https:// or NO_PROXY"
            ),
            (Self::Vi, false) => format!("{host} được hỏi qua proxy {proxy} ({variable})"),
            (Self::En, false) => format!("{host} is asked through the proxy {proxy} ({variable})"),
        }
    }

    pub(crate) fn server_failed(self, error: &str, next: &str, pause: Duration) -> String {
        let pause = match (pause.is_zero(), self) {
            (true, _) => String::new(),
            (false, Self::Vi) => format!(" sau {}", time(pause)),
            (false, Self::En) => format!(" in {}", time(pause)),
        };
        match self {
            Self::Vi => format!("{error}. Chuyển sang hỏi {next}{pause}"),
            Self::En => format!("{error}. Trying {next}{pause}"),
        }
    }

    pub(crate) fn server_adapted(self, server: &str, field: &str) -> String {
        match self {
            Self::Vi => format!("   ↻ {server} không nhận `{field}`; hỏi lại theo cách nó nhận"),
            Self::En => {
                format!("   ↻ {server} does not take `{field}`; asking again as it wants it")
            }
        }
    }

    pub(crate) fn prompt_cut(self, server: &str, read: usize, estimated: usize) -> String {
        match self {
            Self::Vi => format!(
                "{server} chỉ đọc {read} token, mà câu hỏi và các đoạn có khoảng {estimated}: có lẽ nó đã cắt bớt.                  Hãy tăng ngữ cảnh của máy chủ, hoặc nêu ngữ cảnh đó bằng `--context`"
            ),
            Self::En => format!(
                "{server} read only {read} tokens, while the prompt has about {estimated}: it seems to have cut                  it off. Give the server a larger context, or name the one it has with `--context`"
            ),
        }
    }

    pub(crate) fn retracted(self) -> &'static str {
        self.pick(
            "những gì hiện ra ở trên là suy luận của mô hình; câu trả lời bắt đầu từ đây",
            "what was shown above is the model's reasoning; the answer begins here",
        )
    }

    pub(crate) fn content_filter(self) -> &'static str {
        self.pick(
            "   ⚠️  Bộ lọc nội dung của máy chủ đã cắt câu trả lời.",
            "   ⚠️  The server's content filter cut the answer off.",
        )
    }
}
