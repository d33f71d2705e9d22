//! `rag-query doctor`: gathers a report, then prints it as text or JSON.

use anyhow::Result;
use serde::Serialize;

use super::exit::Exit;
use super::setup::Setup;
use crate::gpu::{self, Gpu, GpuError, gib};
use crate::index::Index;
use crate::llm::placement::DeviceChoice;

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cuda_build: bool,
    cores: usize,
    profile: String,
    llm_device: String,
    gpu: Option<GpuReport>,
    gpu_problem: Option<Problem>,
    index: IndexReport,
    models: Vec<ModelReport>,
}

#[derive(Serialize)]
struct GpuReport {
    device: String,
    name: String,
    free_bytes: u64,
    total_bytes: u64,
}

#[derive(Serialize)]
struct Problem {
    error: String,
    hint: String,
}

#[derive(Serialize)]
struct IndexReport {
    path: String,
    chunks: Option<usize>,
    documents: Option<usize>,
    problem: Option<Problem>,
}

#[derive(Serialize)]
struct ModelReport {
    id: String,
    role: crate::models::catalogue::Role,
    here: bool,
    problem: Option<String>,
}

pub fn run(setup: &Setup) -> Result<Exit> {
    let report = gather(setup)?;
    if setup.global.json {
        setup.terminal.print_json(&report)?;
    } else {
        setup.terminal.print(&text(&report))?;
    }
    Ok(Exit::Answered)
}

fn gather(setup: &Setup) -> Result<Report> {
    let models = setup.models()?;
    // This command is about the GPU, so it may look at it; no other but the LLM's loader does.
    let (gpu, gpu_problem) = match models.llm_device {
        DeviceChoice::Cpu => (None, None),
        DeviceChoice::Cuda(ordinal) => match gpu::probe(ordinal) {
            Ok(gpu) => (Some(gpu_report(&gpu)), None),
            Err(error) => (None, Some(gpu_problem(&error))),
        },
    };
    let profile = &setup.profile;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        cuda_build: cfg!(feature = "cuda"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        profile: profile.name.clone(),
        llm_device: models.llm_device.to_string(),
        gpu,
        gpu_problem,
        index: index_report(setup),
        models: [&profile.embedder, &profile.reranker, &profile.llm]
            .into_iter()
            .map(|entry| {
                let located = setup.store.locate_offline(entry);
                ModelReport {
                    id: entry.id.clone(),
                    role: entry.role(),
                    here: located.is_ok(),
                    problem: located.err().map(|error| error.to_string()),
                }
            })
            .collect(),
    })
}

fn gpu_report(gpu: &Gpu) -> GpuReport {
    GpuReport {
        device: format!("cuda:{}", gpu.ordinal),
        name: gpu.name.clone(),
        free_bytes: gpu.free,
        total_bytes: gpu.total,
    }
}

fn gpu_problem(error: &GpuError) -> Problem {
    Problem { error: error.to_string(), hint: error.hint().to_owned() }
}

fn index_report(setup: &Setup) -> IndexReport {
    let path = setup.index_dir.display().to_string();
    match Index::open(&setup.index_dir) {
        Ok(index) => IndexReport {
            path,
            chunks: Some(index.chunk_count()),
            documents: Some(index.document_count()),
            problem: None,
        },
        Err(error) => IndexReport {
            path,
            chunks: None,
            documents: None,
            problem: Some(Problem { error: error.to_string(), hint: error.hint().to_owned() }),
        },
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!(
            "rag-query {}, {} CUDA, {} cores",
            report.version,
            if report.cuda_build { "with" } else { "without" },
            report.cores
        ),
        format!("profile   {}, LLM on {}", report.profile, report.llm_device),
    ];
    if let Some(gpu) = &report.gpu {
        lines.push(format!(
            "gpu       ✅ {} ({}), {} of {} free",
            gpu.device,
            gpu.name,
            gib(gpu.free_bytes),
            gib(gpu.total_bytes)
        ));
    }
    if let Some(problem) = &report.gpu_problem {
        lines.push(format!("gpu       ❌ {}\n          hint: {}", problem.error, problem.hint));
    }
    let index = &report.index;
    lines.push(match (&index.problem, index.chunks, index.documents) {
        (None, Some(chunks), Some(documents)) => {
            format!("index     ✅ {}: {chunks} chunks of {documents} documents", index.path)
        }
        (Some(problem), ..) => {
            format!("index     ❌ {}\n          hint: {}", problem.error, problem.hint)
        }
        _ => format!("index     {}", index.path),
    });
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
