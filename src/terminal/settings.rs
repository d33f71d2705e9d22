//! What is said of files of settings.

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

    pub(crate) fn nothing_to_index(self) -> &'static str {
        self.pick(
            "không có gì để lập chỉ mục: hãy nêu tệp hoặc thư mục (`rag-query index THƯ-MỤC`), hoặc định \
             nghĩa một chỉ mục trong .rag-query.toml",
            "there is nothing to index: name files or folders (`rag-query index FOLDER`), or define an \
             index in .rag-query.toml",
        )
    }
}
