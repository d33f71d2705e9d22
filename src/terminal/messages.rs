//! User-facing messages, in Vietnamese and English.

use std::env;
use std::time::Duration;

use clap::ValueEnum;

use super::one_line;
use crate::answer::{Pace, Unsupported};
use crate::documents::{Place, PlaceWords};
use crate::generation::local::placement::gpu::{Gpu, gib};
use crate::generation::local::placement::{GpuMemory, Placed};
use crate::index::directory::Sizes;
use crate::index::update::IndexingSummary;
use crate::index::{Notice, Retry, Settings};
use crate::models::Download;
use crate::prompt::line_of;

/// Most characters shown of an unsupported sentence.
const MAX_SENTENCE: usize = 80;

/// The language of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Vietnamese.
    Vi,
    /// English.
    En,
}

impl Lang {
    /// Detects the language from the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set.
    pub fn from_locale() -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        if locale.is_some_and(|locale| locale.starts_with("vi")) { Self::Vi } else { Self::En }
    }

    pub(crate) fn pick<'a>(self, vi: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Vi => vi,
            Self::En => en,
        }
    }

    pub(crate) fn llm(self, name: &str, device: &str) -> String {
        format!(
            "🔄 LLM: {name} ({}, {})",
            device.to_uppercase(),
            self.pick("chưa nạp", "not loaded")
        )
    }

    pub(crate) fn llm_on_cpu_by_profile(self, profile: &str) -> String {
        match self {
            Self::Vi => format!("   cấu hình {profile} khai báo chạy LLM trên CPU"),
            Self::En => format!("   profile {profile} runs the LLM on the CPU"),
        }
    }

    pub(crate) fn loading_index(self) -> &'static str {
        self.pick("🔄 Đang nạp chỉ mục… ", "🔄 Loading the index… ")
    }

    /// The other places of a text, and how many `more` there are.
    pub(crate) fn also_in(self, places: &str, more: usize) -> String {
        let more = match (more, self) {
            (0, _) => String::new(),
            (more, Self::Vi) => format!(" và {more} nơi khác"),
            (more, Self::En) => format!(" and {more} more"),
        };
        format!("{} {places}{more}", self.pick("cũng ở:", "also in:"))
    }

    /// Before a download: how large it is, and how much room there is.
    pub(crate) fn downloading(self, download: &Download) -> String {
        let Download { repo, files, bytes: size, folder, free } = download;
        let (size, folder) = (bytes(*size), folder.display());
        let free = free.map_or_else(String::new, |free| match self {
            Self::Vi => format!(" (còn trống {})", bytes(free)),
            Self::En => format!(" ({} free)", bytes(free)),
        });
        match self {
            Self::Vi => format!("⬇️  Tải {repo}: {files} tệp, {size}, vào {folder}{free}"),
            Self::En => {
                let what = if *files == 1 { "file" } else { "files" };
                format!("⬇️  Downloading {repo}: {files} {what}, {size}, to {folder}{free}")
            }
        }
    }

    pub(crate) fn renewing_terms(self) -> &'static str {
        self.pick(
            "🔄 Chỉ mục do bản trước tạo: đang lấy lại các từ… ",
            "🔄 The index is from an earlier version: taking its words again… ",
        )
    }

    pub(crate) fn chunks(self, chunks: usize) -> String {
        format!("✅ {chunks} {}", self.pick("đoạn", if chunks == 1 { "chunk" } else { "chunks" }))
    }

    pub(crate) fn loading_models(self, reranker: bool) -> &'static str {
        match (self, reranker) {
            (Self::Vi, true) => "🔄 Embedding & reranker (CPU)… ",
            (Self::Vi, false) => "🔄 Embedding (CPU)… ",
            (Self::En, true) => "🔄 Embedder & reranker (CPU)… ",
            (Self::En, false) => "🔄 Embedder (CPU)… ",
        }
    }

    pub(crate) fn measuring(self, vi: &str, en: &str) -> String {
        format!("📏 {} {}… ", self.pick("Đang đo", "Measuring"), self.pick(vi, en))
    }

    pub(crate) fn evaluating(self) -> &'static str {
        self.pick("Đang hỏi", "Asking")
    }

    pub(crate) fn report_written(self, file: &str) -> String {
        format!("📊 {} {}", self.pick("Báo cáo:", "Report:"), one_line(file))
    }

    pub(crate) fn not_in_both(self, only_a: usize, only_b: usize) -> String {
        match self {
            Self::Vi => format!(
                "chỉ so sánh các câu hỏi chung; {only_a} câu chỉ có ở báo cáo A, {only_b} câu chỉ có ở B"
            ),
            Self::En => format!(
                "comparing only the questions in both reports; {only_a} are only in A, {only_b} only in B"
            ),
        }
    }

    pub(crate) fn question(self, question: &str) -> String {
        format!("💬 {}: {question}", self.pick("Câu hỏi", "Question"))
    }

    pub(crate) fn searched(self, took: Duration) -> String {
        format!("   🔍 {} {}", self.pick("Tìm kiếm…", "Searching…"), time(took))
    }

    pub(crate) fn reranked(self, took: Duration) -> String {
        format!("   🎯 {} {}", self.pick("Xếp hạng lại…", "Reranking…"), time(took))
    }

    pub(crate) fn loading_llm(self, name: &str, device: &str) -> String {
        format!("   🔄 {} {name} → {device} … ", self.pick("Đang nạp", "Loading"))
    }

    /// Said before a load, which then takes longer than its size explains.
    pub(crate) fn translating_kernels(self, gpu: &Gpu) -> String {
        let capability = gpu.capability;
        match self {
            Self::Vi => format!(
                "   ⏳ Trình điều khiển dịch mã GPU cho {gpu} (compute capability {capability}), một \
                 lần và giữ lại; mất tới một phút"
            ),
            Self::En => format!(
                "   ⏳ The driver translates GPU code for {gpu} (compute capability {capability}), \
                 once, and keeps it; takes up to a minute"
            ),
        }
    }

    pub(crate) fn llm_loaded(self, placed: &Placed, took: Duration) -> String {
        let Placed { device, memory } = placed;
        let Some(GpuMemory { gpu, planned, measured }) = memory else {
            return format!("✅ {device}, {}", time(took));
        };
        let planned = format!("{} {}", self.pick("dự tính", "planned"), gib(*planned));
        let memory = match measured {
            Some(measured) => format!("{} VRAM ({planned})", gib(*measured)),
            None => format!("VRAM {planned}"),
        };
        format!("✅ {device} ({gpu}), {memory}, {}", time(took))
    }

    pub(crate) fn passages_dropped(self, count: usize) -> String {
        match self {
            Self::Vi => format!(
                "   ⚠️  Bỏ {count} đoạn xếp hạng thấp nhất vì vượt quá ngữ cảnh của mô hình."
            ),
            Self::En => format!(
                "   ⚠️  Dropped the {count} lowest-ranked passage(s): they do not fit into the model's context."
            ),
        }
    }

    pub(crate) fn answering(self) -> &'static str {
        self.pick("   🤖 Trả lời… ", "   🤖 Answering… ")
    }

    #[expect(
        clippy::unused_self,
        reason = "messages belong to a language, even if it changes nothing"
    )]
    pub(crate) fn answered(self, took: Duration, pace: Option<Pace>) -> String {
        match pace.and_then(Pace::rate) {
            Some(rate) => format!("{} ({rate:.0} token/s)", time(took)),
            None => time(took),
        }
    }

    pub(crate) fn interrupted(self) -> &'static str {
        self.pick("   ⏹  Đã dừng.", "   ⏹  Stopped.")
    }

    pub(crate) fn max_tokens(self) -> &'static str {
        self.pick(
            "   ⚠️  Câu trả lời bị cắt ở giới hạn --max-tokens.",
            "   ⚠️  The answer was cut off at --max-tokens.",
        )
    }

    pub(crate) fn invented_citations(self) -> &'static str {
        self.pick(
            "   ⚠️  Câu trả lời trích dẫn đoạn không tồn tại; hãy kiểm tra lại nguồn.",
            "   ⚠️  The answer cites passages that do not exist; check it against the sources.",
        )
    }

    /// How many sentences are not supported, and the beginning of the first; `None` if there are none.
    pub(crate) fn unsupported(self, sentences: &[Unsupported]) -> Option<String> {
        let (count, first) = (sentences.len(), line_of(&sentences.first()?.text, MAX_SENTENCE));
        Some(match self {
            Self::Vi => format!("   ❔ {count} câu không thấy căn cứ trong các đoạn: “{first}”"),
            Self::En => {
                let what = if count == 1 { "sentence has" } else { "sentences have" };
                format!("   ❔ {count} {what} no support in the passages: “{first}”")
            }
        })
    }

    /// `rewritten` by the LLM, or else joined with the previous question.
    pub(crate) fn searching_for(self, text: &str, rewritten: bool) -> String {
        let joined = self.pick(" (ghép với câu hỏi trước)", " (joined with the previous question)");
        let how = if rewritten { "" } else { joined };
        format!("   💭 {}: {text}{how}", self.pick("tìm theo", "searching for"))
    }

    pub(crate) fn rewriting(self) -> &'static str {
        self.pick("   💭 Viết lại câu hỏi nối tiếp… ", "   💭 Rewriting the follow-up… ")
    }

    pub(crate) fn not_rewritten(self, error: &str) -> String {
        let what = self
            .pick("Không viết lại được câu hỏi nối tiếp", "The follow-up could not be rewritten");
        format!("{what}: {error}")
    }

    /// `supported`: whether there are passages that support the answer's sentences.
    pub(crate) fn no_citations(self, supported: bool) -> &'static str {
        match supported {
            true => self.pick(
                "   ⚠️  Mô hình không trích dẫn; các nguồn dưới đây là những đoạn khớp nhất với các câu của nó, do rag-query chọn.",
                "   ⚠️  The model cited nothing; the sources below are the passages that support its sentences best, chosen by rag-query.",
            ),
            false => self.pick(
                "   ⚠️  Mô hình không trích dẫn; các nguồn dưới đây là những đoạn nó đã đọc.",
                "   ⚠️  The model cited nothing; the sources below are the passages that it read.",
            ),
        }
    }

    pub(crate) fn sources(self) -> &'static str {
        self.pick("Nguồn:", "Sources:")
    }

    /// ` (dòng 3–9)`, ` (page 12)`, ` (00:01:05–00:01:20)`, or nothing.
    /// Behind the place of a text that was recognized in a picture.
    pub(crate) fn recognized(self, recognized: bool) -> &'static str {
        match recognized {
            true => self.pick(" [nhận dạng từ ảnh]", " [recognized]"),
            false => "",
        }
    }

    pub(crate) fn place(self, place: Option<Place>) -> String {
        let words = match self {
            Self::Vi => PlaceWords::VIETNAMESE,
            Self::En => PlaceWords::ENGLISH,
        };
        place.map(|place| format!(" ({})", place.in_words(words))).unwrap_or_default()
    }

    pub(crate) fn indexed(self, summary: &IndexingSummary, took: &str, place: &str) -> String {
        let IndexingSummary {
            indexed,
            chunks,
            reused,
            unchanged,
            removed,
            problems,
            interrupted,
            ..
        } = summary;
        let skipped = problems.len();
        let text = match self {
            Self::Vi => format!(
                "{indexed} tài liệu ({chunks} đoạn, {reused} đã có vectơ) mới hoặc thay đổi, \
                 {unchanged} không đổi, {removed} đã xóa, {skipped} lỗi; {took} → {place}"
            ),
            Self::En => format!(
                "{indexed} documents ({chunks} chunks, {reused} already embedded) new or changed, \
                 {unchanged} unchanged, {removed} removed, {skipped} problems; {took} → {place}"
            ),
        };
        if *interrupted {
            let stopped = self.pick(
                "Đã dừng; phần đã làm được giữ lại, lần chạy sau sẽ làm tiếp:",
                "Stopped; finished work is kept, and the next run continues from there:",
            );
            return format!("⏸️  {stopped} {text}");
        }
        format!("✅ {text}")
    }

    pub(crate) fn indexing(self, (done, all): (usize, usize), chunks_a_second: f64) -> String {
        match self {
            Self::Vi => format!("Lập chỉ mục {done}/{all} tệp, {chunks_a_second:.0} đoạn/s"),
            Self::En => format!("Indexing {done}/{all} files, {chunks_a_second:.0} chunks/s"),
        }
    }

    pub(crate) fn recognizing(self, file: &str, done: usize, pages: usize) -> String {
        match self {
            Self::Vi => format!("Nhận dạng {file}, {done}/{pages} trang"),
            Self::En => format!("Recognizing {file}, {done}/{pages} pages"),
        }
    }

    pub(crate) fn watching(self) -> &'static str {
        self.pick(
            "   đang theo dõi thay đổi; Ctrl-C để dừng",
            "   watching for changes; Ctrl-C stops",
        )
    }

    pub(crate) fn previewed(self, documents: usize, chunks: usize) -> String {
        match self {
            Self::Vi => format!("{documents} tài liệu, {chunks} đoạn; chỉ mục không thay đổi"),
            Self::En => format!("{documents} documents, {chunks} chunks; the index is unchanged"),
        }
    }

    pub(crate) fn listed(self, documents: usize) -> String {
        match self {
            Self::Vi => format!("{documents} tài liệu"),
            Self::En => format!("{documents} documents"),
        }
    }

    pub(crate) fn removed(self, documents: usize) -> String {
        match self {
            Self::Vi if documents == 0 => "không có tài liệu nào ở đó trong chỉ mục".to_owned(),
            Self::En if documents == 0 => "the index has no documents there".to_owned(),
            Self::Vi => format!("✅ đã xóa {documents} tài liệu khỏi chỉ mục"),
            Self::En => format!("✅ removed {documents} documents from the index"),
        }
    }

    pub(crate) fn verified(self, documents: usize, chunks: usize, took: &str) -> String {
        match self {
            Self::Vi => {
                format!("✅ chỉ mục nguyên vẹn: {documents} tài liệu, {chunks} đoạn; {took}")
            }
            Self::En => {
                format!("✅ the index is intact: {documents} documents, {chunks} chunks; {took}")
            }
        }
    }

    pub(crate) fn named(self, documents: usize, chunks: usize, size: &str) -> String {
        match self {
            Self::Vi => format!("{documents} tài liệu, {chunks} đoạn, {size}"),
            Self::En => format!("{documents} documents, {chunks} chunks, {size}"),
        }
    }

    pub(crate) fn no_names(self) -> &'static str {
        self.pick(
            "Chưa có chỉ mục nào có tên; tạo bằng `rag-query --index @TÊN index ĐƯỜNG_DẪN…`",
            "No named indexes yet; create one with `rag-query --index @NAME index PATH…`",
        )
    }

    /// `counts`: files, documents, chunks, and dead rows.
    pub(crate) fn index_info(
        self,
        index: &str,
        counts: [usize; 4],
        sizes: Option<Sizes>,
        age: Option<Duration>,
        settings: &Settings,
    ) -> String {
        let [files, documents, chunks, dead] = counts;
        let size = sizes.map_or_else(|| "?".to_owned(), |sizes| self.sizes(sizes));
        let (embedder, codes) = (&settings.embedder.id, settings.token_vectors.as_ref());
        let codes = codes.map_or_else(|| "–".to_owned(), ToString::to_string);
        let age = age.map_or_else(|| "?".to_owned(), |age| self.age(age));
        match self {
            Self::Vi => format!(
                "chỉ mục     {index}\ntệp         {files}\ntài liệu    {documents}\n\
                 đoạn        {chunks} (và {dead} đã bỏ, chờ thu gọn)\nkích thước  {size}\n\
                 thay đổi    {age}\nembedder    {embedder}\nvector từ   {codes}\n"
            ),
            Self::En => format!(
                "index      {index}\nfiles      {files}\ndocuments  {documents}\n\
                 chunks     {chunks} (plus {dead} removed, until compaction)\nsize       {size}\n\
                 changed    {age}\nembedder   {embedder}\ntokens     {codes}\n"
            ),
        }
    }

    /// The size of an index and of its parts.
    fn sizes(self, sizes: Sizes) -> String {
        let [total, text, vectors, tokens, ledger] =
            [sizes.total(), sizes.text, sizes.vectors, sizes.token_vectors, sizes.ledger]
                .map(bytes);
        match self {
            Self::Vi => format!(
                "{total} (văn bản và từ {text}, vector của đoạn {vectors}, vector của token {tokens}, sổ {ledger})"
            ),
            Self::En => format!(
                "{total} (text and words {text}, vectors of passages {vectors}, vectors of tokens {tokens}, ledger {ledger})"
            ),
        }
    }

    /// Before a large index is built.
    pub(crate) fn index_will_take(self, size: u64, compact: Option<u64>) -> String {
        let size = bytes(size);
        let compact = compact.map_or_else(String::new, |compact| {
            let compact = bytes(compact);
            match self {
                Self::Vi => format!("; với `--token-vectors compact` khoảng {compact}"),
                Self::En => format!("; with `--token-vectors compact` about {compact}"),
            }
        });
        match self {
            Self::Vi => format!("ℹ️  Chỉ mục sẽ chiếm khoảng {size}{compact}."),
            Self::En => format!("ℹ️  The index will take about {size}{compact}."),
        }
    }

    /// Before what a model's ranking was measured on.
    pub(crate) fn ranking_measured(self) -> &'static str {
        self.pick("xếp hạng đã đo:", "ranking measured:")
    }

    pub(crate) fn ranking_not_measured(self) -> &'static str {
        self.pick("xếp hạng chưa đo", "ranking not measured")
    }

    pub(crate) fn recoding_tokens(self) -> &'static str {
        self.pick(
            "🔄 Chỉ mục do bản trước tạo: đang thu nhỏ các vector của token… ",
            "🔄 The index is from an earlier version: making its token vectors smaller… ",
        )
    }

    pub(crate) fn copied(
        self,
        documents: usize,
        chunks: usize,
        unchanged: usize,
        took: &str,
        target: &str,
    ) -> String {
        match self {
            Self::Vi => format!(
                "✅ đã chép {documents} tài liệu ({chunks} đoạn), {unchanged} đã có sẵn; {took} → {target}"
            ),
            Self::En => format!(
                "✅ copied {documents} documents ({chunks} chunks), {unchanged} already there; {took} → {target}"
            ),
        }
    }

    /// Why the tool is waiting for a server.
    pub(crate) fn notice(self, notice: &Notice) -> String {
        match (self, notice) {
            (Self::Vi, Notice::Retry(Retry { address, error, attempt, attempts })) => {
                format!("{address} không trả lời ({error}); thử lại lần {attempt}/{attempts}")
            }
            (Self::En, Notice::Retry(Retry { address, error, attempt, attempts })) => {
                format!("{address} did not answer ({error}); attempt {attempt} of {attempts}")
            }
            (Self::Vi, Notice::Waiting { address, writer }) => format!(
                "có lẽ {writer} đã dừng khi đang ghi vào {address}; chờ vài giây để biết chắc"
            ),
            (Self::En, Notice::Waiting { address, writer }) => format!(
                "{writer} may have stopped while writing to {address}; waiting a few seconds to be sure"
            ),
        }
    }

    /// `5 min ago`.
    fn age(self, age: Duration) -> String {
        let seconds = age.as_secs();
        let (count, vi, en) = match seconds {
            0..60 => (seconds, "giây", "s"),
            60..3600 => (seconds / 60, "phút", "min"),
            3600..86_400 => (seconds / 3600, "giờ", "h"),
            _ => (seconds / 86_400, "ngày", "days"),
        };
        match self {
            Self::Vi => format!("{count} {vi} trước"),
            Self::En => format!("{count} {en} ago"),
        }
    }
}

/// A size in bytes as `812 B` or `4.7 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration as `12 ms` or `3.1 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_micros(12_400)), "12 ms");
        assert_eq!(time(Duration::from_millis(3_140)), "3.1 s");
        assert_eq!(time(Duration::ZERO), "0 ms");
    }

    #[test]
    fn a_loaded_llm_is_told_with_its_memory_beside_the_plan() {
        let took = Duration::from_millis(3200);
        let cpu = Placed { device: "cpu".to_owned(), memory: None };
        assert_eq!(Lang::En.llm_loaded(&cpu, took), "✅ cpu, 3.2 s");
        let memory = GpuMemory {
            gpu: "NVIDIA GeForce RTX 4090".to_owned(),
            planned: 61 << 30,
            measured: Some(59 << 30),
        };
        let gpu = Placed { device: "cuda:0".to_owned(), memory: Some(memory) };
        assert_eq!(
            Lang::En.llm_loaded(&gpu, took),
            "✅ cuda:0 (NVIDIA GeForce RTX 4090), 59.0 GiB VRAM (planned 61.0 GiB), 3.2 s"
        );
        assert!(Lang::Vi.llm_loaded(&gpu, took).contains("59.0 GiB VRAM (dự tính 61.0 GiB)"));
    }

    #[test]
    fn sizes_have_a_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(Lang::En.age(Duration::from_hours(2)), "2 h ago");
    }

    #[test]
    fn places_name_one_line_or_several() {
        assert_eq!(Lang::En.place(Some(Place::Lines(3, 3))), " (line 3)");
        assert_eq!(Lang::Vi.place(Some(Place::Lines(3, 9))), " (dòng 3–9)");
        assert_eq!(Lang::En.place(Some(Place::Pages(3, 9))), " (pages 3–9)");
        assert_eq!(Lang::Vi.place(Some(Place::Pages(12, 12))), " (trang 12)");
        assert_eq!(Lang::Vi.place(None), "");
    }
}
