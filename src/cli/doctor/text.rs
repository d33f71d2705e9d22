//! The doctor's report for people.

use super::{GpuReport, LlmReport, Problem, Report, ScansReport};
use crate::generation::local::placement::gpu::gib;
use crate::terminal::Lang;

/// The report for people. Names of rows are those of its fields; errors and advice are in English.
pub fn text(report: &Report, lang: Lang) -> String {
    let Report { version, cores, profile, llm_device, .. } = report;
    let kernels = match &report.cuda_kernels {
        Some(kernels) => format!("{} {kernels}", lang.pick("có", "with")),
        None => lang.pick("không có CUDA", "without CUDA").to_owned(),
    };
    let mut lines = match lang {
        Lang::Vi => vec![
            format!("rag-query {version}, {kernels}, {cores} nhân"),
            format!("profile   {profile}, LLM chạy trên {llm_device}"),
        ],
        Lang::En => vec![
            format!("rag-query {version}, {kernels}, {cores} cores"),
            format!("profile   {profile}, LLM on {llm_device}"),
        ],
    };
    lines.extend(report.gpu.iter().flat_map(|gpu| gpu_lines(gpu, lang)));
    if let Some(problem) = &report.gpu_problem {
        lines.push(format!("gpu       ❌ {}", with_hint(problem)));
    }
    if let Some(llm) = &report.placement.llm {
        lines.extend(plan_lines(llm, report.gpu_problem.is_some(), lang));
    }
    let index = &report.index;
    lines.push(match (&index.problem, index.chunks, index.documents) {
        (None, Some(chunks), Some(documents)) => match lang {
            Lang::Vi => {
                format!("index     ✅ {}: {chunks} đoạn của {documents} tài liệu", index.path)
            }
            Lang::En => {
                format!("index     ✅ {}: {chunks} chunks of {documents} documents", index.path)
            }
        },
        (Some(problem), ..) => format!("index     ❌ {}", with_hint(problem)),
        _ => format!("index     {}", index.path),
    });
    lines.push(scans_line(&report.scans, lang));
    for model in &report.models {
        let role = serde_json::to_value(model.role).ok();
        let role = role.as_ref().and_then(|role| role.as_str()).unwrap_or_default().to_owned();
        lines.push(match &model.problem {
            None => format!("{role:9} ✅ {}", model.id),
            Some(problem) => format!("{role:9} ❌ {problem}"),
        });
    }
    lines.join("\n") + "\n"
}

fn with_hint(problem: &Problem) -> String {
    format!("{}\n          hint: {}", problem.error, problem.hint)
}

/// Most people have no scans, so what is missing for them is no fault.
fn scans_line(scans: &ScansReport, lang: Lang) -> String {
    match (&scans.program, &scans.problem) {
        (Some(program), _) => format!("scans     ✅ {program}, {}", scans.languages),
        (None, problem) => {
            let what = lang.pick("không nhận dạng được", "not recognized");
            format!("scans     {what}: {}", problem.as_deref().unwrap_or_default())
        }
    }
}

/// The GPU that would be used.
fn gpu_lines(gpu: &GpuReport, lang: Lang) -> Vec<String> {
    let GpuReport { device, name, .. } = gpu;
    let (free, total) = (gib(gpu.free_bytes), gib(gpu.total_bytes));
    let mut lines = vec![match lang {
        Lang::Vi => format!("gpu       ✅ {device} ({name}), còn trống {free} trên {total}"),
        Lang::En => format!("gpu       ✅ {device} ({name}), {free} of {total} free"),
    }];
    let mut add = |vi: &str, en: &str| lines.push(format!("          {}", lang.pick(vi, en)));
    if gpu.translates {
        add(
            "trình điều khiển dịch mã GPU của chương trình ở lần nạp đầu tiên, mất tới một phút",
            "its driver translates this program's GPU code at the first load, which takes up to a \
             minute",
        );
    }
    if !gpu.memory_pools {
        add(
            "nó không có vùng nhớ dùng chung (memory pools), như một số GPU ảo, nên câu trả lời phải \
             chờ nó ở mỗi bước và chậm; hãy dùng GPU có unified memory, hoặc cả một GPU",
            "it has no memory pools, as some virtual GPUs, so an answer waits for it at each step and \
             is slow; ask for one with unified memory, or a whole GPU",
        );
    }
    match &gpu.checked_on {
        Some(card) => add(
            &format!("các kernel của bản này đã được kiểm tra trên {card}"),
            &format!("this version's kernels were checked on {card}"),
        ),
        None => add(
            "chưa GPU nào chạy các kernel của bản này trong một lần kiểm tra (ci/gpu-check)",
            "no GPU has run this version's kernels in a check yet (ci/gpu-check)",
        ),
    }
    lines
}

/// The load plan, then its problem unless the GPU's own problem was already shown.
fn plan_lines(report: &LlmReport, gpu_problem_shown: bool, lang: Lang) -> Vec<String> {
    let mark = if report.problem.is_none() { "✅ " } else { "❌ " };
    let mut lines = Vec::new();
    if let (Some(device), Some(plan)) = (&report.device, &report.plan) {
        let parts: Vec<String> = [
            (plan.weights_bytes, lang.pick("trọng số", "weights")),
            (plan.kv_cache_bytes, "KV cache"),
            (plan.workspace_bytes, lang.pick("vùng làm việc", "workspace")),
            (plan.margin_bytes, lang.pick("dự phòng", "margin")),
        ]
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, part)| format!("{} {part}", size(*bytes)))
        .collect();
        let free = report.free_bytes.map(gib);
        let free = free.map(|free| match lang {
            Lang::Vi => format!("; còn trống {free}"),
            Lang::En => format!("; {free} free"),
        });
        let (total, context, parts) = (size(plan.total_bytes), plan.context, parts.join(" + "));
        let free = free.unwrap_or_default();
        lines.push(match lang {
            Lang::Vi => format!(
                "plan      {mark}{total} trên {device} cho ngữ cảnh {context}: {parts}{free}"
            ),
            Lang::En => format!(
                "plan      {mark}{total} on {device} for a context of {context}: {parts}{free}"
            ),
        });
    }
    if let Some(problem) = report.problem.as_ref().filter(|_| !gpu_problem_shown) {
        let label = if lines.is_empty() { "plan      ❌" } else { "         " };
        lines.push(format!("{label} {}", with_hint(problem)));
    }
    lines
}

/// A size in MiB if below 1 GiB (small models, short contexts), else in GiB.
fn size(bytes: u64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    if bytes < 1 << 30 { format!("{:.0} MiB", (bytes as f64 / MIB).ceil()) } else { gib(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::PlanReport;

    #[test]
    fn a_gpu_that_has_no_memory_pools_is_told_to_be_slow() {
        let mut gpu = GpuReport {
            device: "cuda:0".to_owned(),
            name: "GRID".to_owned(),
            free_bytes: 8 << 30,
            total_bytes: 8 << 30,
            checked_on: None,
            translates: false,
            memory_pools: true,
        };
        assert_eq!(gpu_lines(&gpu, Lang::En).len(), 2);
        gpu.memory_pools = false;
        assert!(
            gpu_lines(&gpu, Lang::En)[1].contains("no memory pools"),
            "{:?}",
            gpu_lines(&gpu, Lang::En)
        );
    }

    #[test]
    fn the_plan_is_one_line_and_its_problem_is_shown_once() {
        const GIB: u64 = 1 << 30;
        let plan = PlanReport {
            context: 8192,
            weights_bytes: 5 * GIB,
            kv_cache_bytes: GIB,
            workspace_bytes: 256 << 20,
            margin_bytes: 0,
            total_bytes: 6 * GIB + (256 << 20),
        };
        let mut report = LlmReport {
            device: Some("cuda:0".to_owned()),
            plan: Some(plan),
            free_bytes: Some(20 * GIB),
            problem: None,
        };
        assert_eq!(
            plan_lines(&report, false, Lang::En),
            ["plan      ✅ 6.2 GiB on cuda:0 for a context of 8192: 5.0 GiB weights + 1.0 GiB KV \
                 cache + 256 MiB workspace; 20.0 GiB free"]
        );
        report.problem = Some(Problem { error: "too full".to_owned(), hint: "wait".to_owned() });
        let lines = plan_lines(&report, false, Lang::En);
        assert!(
            lines[0].starts_with("plan      ❌") && lines[1].ends_with("hint: wait"),
            "{lines:?}"
        );
        assert_eq!(plan_lines(&report, true, Lang::En).len(), 1);
    }
}
