//! `rag-query doctor`: gathers a report, then prints it as text or JSON.

mod text;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::index::programs_unwatched;
use super::setup::Setup;
use crate::documents::NoOcr;
use crate::generation::local::placement::gpu::{self, Gpu, GpuError};
use crate::generation::local::placement::{DeviceChoice, Outlook};
use crate::generation::remote::{Endpoint, Pool, RemoteError};
use crate::models::catalogue::Role;
use crate::models::{ModelEntry, ModelError};
use crate::prompt::line_of;
use crate::terminal::exit::Exit;

/// Most characters shown of a server's list of models.
const MAX_LIST_CHARS: usize = 200;

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cuda_build: bool,
    /// The GPUs that this build has kernels for; absent in a build without CUDA.
    cuda_kernels: Option<String>,
    cores: usize,
    profile: String,
    llm_device: String,
    gpu: Option<GpuReport>,
    gpu_problem: Option<Problem>,
    placement: PlacementReport,
    index: IndexReport,
    scans: ScansReport,
    models: Vec<ModelReport>,
}

#[derive(Serialize)]
struct GpuReport {
    device: String,
    name: String,
    free_bytes: u64,
    total_bytes: u64,
    /// The GPU on which this program's kernels were checked last; absent if there is none.
    checked_on: Option<String>,
    /// Whether its driver has to translate this program's kernels at the first load.
    translates: bool,
    /// Whether it has memory pools, without which answers are slow.
    memory_pools: bool,
}

/// Predicted placement of the LLM; nothing is loaded.
#[derive(Serialize)]
struct PlacementReport {
    /// Absent if the model's files are missing, or the LLM is on a server.
    llm: Option<LlmReport>,
}

#[derive(Serialize)]
struct LlmReport {
    device: Option<String>,
    plan: Option<PlanReport>,
    free_bytes: Option<u64>,
    problem: Option<Problem>,
}

#[derive(Serialize)]
struct PlanReport {
    context: usize,
    weights_bytes: u64,
    kv_cache_bytes: u64,
    workspace_bytes: u64,
    margin_bytes: u64,
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

/// What recognizes the text of scans when files are indexed.
#[derive(Serialize)]
struct ScansReport {
    /// With its version; absent if scans are not recognized.
    program: Option<String>,
    languages: String,
    problem: Option<String>,
}

#[derive(Serialize)]
struct ModelReport {
    id: String,
    role: Role,
    here: bool,
    problem: Option<String>,
}

pub fn run(setup: &Setup) -> Result<Exit> {
    let report = gather(setup)?;
    if setup.global.json {
        setup.terminal.print_json(&report)?;
    } else {
        setup.terminal.print(&text::text(&report, setup.terminal.lang))?;
    }
    let needs_llm = !setup.global.extractive;
    Ok(if report.can_answer(needs_llm) { Exit::Answered } else { Exit::Error })
}

impl Report {
    /// Whether a question would be answered, with or without the LLM.
    fn can_answer(&self, needs_llm: bool) -> bool {
        let llm = self.placement.llm.as_ref();
        let llm_fits = self.gpu_problem.is_none() && llm.is_none_or(|llm| llm.problem.is_none());
        let is_needed = |model: &&ModelReport| needs_llm || model.role != Role::Llm;
        self.index.problem.is_none()
            && (llm_fits || !needs_llm)
            && self.models.iter().filter(is_needed).all(|model| model.problem.is_none())
    }
}

fn gather(setup: &Setup) -> Result<Report> {
    let models = setup.models()?;
    // Only this command and the LLM's loader touch the GPU.
    let remote = models.llm.remote();
    let (gpu, gpu_problem) = match models.llm_device {
        _ if remote.is_some() => (None, None),
        DeviceChoice::Cpu => (None, None),
        DeviceChoice::Cuda(ordinal) => match gpu::choose(gpu::driver(), ordinal) {
            Ok(gpu) => (Some(gpu_report(&gpu)), None),
            Err(error) => (None, Some(gpu_problem(&error))),
        },
    };
    let llm = match remote {
        Some(_) => None,
        None => models.llm_request.outlook(&setup.store).map(llm_report),
    };
    let profile = &setup.profile;
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        cuda_build: cfg!(feature = "cuda"),
        cuda_kernels: cfg!(feature = "cuda").then(|| gpu::driver().kernels().to_string()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        profile: profile.name.clone(),
        llm_device: remote.map_or_else(|| models.llm_device.to_string(), Pool::place),
        gpu,
        gpu_problem,
        placement: PlacementReport { llm },
        index: index_report(setup),
        scans: scans_report(setup),
        models: [&profile.embedder, &profile.reranker, &profile.llm]
            .into_iter()
            .flat_map(|entry| match (&setup.global.llm, remote) {
                (_, Some(pool)) if entry.role() == Role::Llm => servers(pool),
                (Some(path), None) if entry.role() == Role::Llm => vec![own_llm(path)],
                _ => vec![model_report(setup, entry)],
            })
            .collect(),
    })
}

fn model_report(setup: &Setup, entry: &ModelEntry) -> ModelReport {
    let located = setup.store.locate_offline(entry);
    ModelReport {
        id: entry.id.clone(),
        role: entry.role(),
        here: located.is_ok(),
        problem: located.err().map(|error| match error {
            // The error's own message blames `--offline`, which the user did not set here.
            ModelError::NotCached { file, cache } => format!(
                "{file} is missing from the cache {}, or incomplete; run `rag-query models pull`",
                cache.display()
            ),
            error => error.to_string(),
        }),
    }
}

/// The user's file or folder that replaces the profile's LLM.
fn own_llm(path: &Path) -> ModelReport {
    let here = path.exists();
    let problem = (!here).then(|| format!("{} does not exist", path.display()));
    ModelReport { id: path.display().to_string(), role: Role::Llm, here, problem }
}

/// Asks each server whether it has its model.
fn servers(pool: &Pool) -> Vec<ModelReport> {
    let report = |(server, models): (&Endpoint, Result<Vec<String>, RemoteError>)| {
        let problem = match &models {
            Err(error) => Some(error.to_string()),
            Ok(models) if models.iter().any(|model| model == server.model()) => None,
            Ok(models) => Some(format!(
                "{server} has no model `{}`; it has {}",
                server.model(),
                line_of(&models.join(", "), MAX_LIST_CHARS)
            )),
        };
        let id = format!("{} on {server}", server.model());
        ModelReport { id, role: Role::Llm, here: problem.is_none(), problem }
    };
    pool.models().into_iter().map(report).collect()
}

fn gpu_report(gpu: &Gpu) -> GpuReport {
    GpuReport {
        device: gpu.device(),
        name: gpu.name.clone(),
        free_bytes: gpu.free,
        total_bytes: gpu.total,
        checked_on: gpu::verified::card(),
        translates: gpu::driver().kernels().are_translated_for(gpu.capability),
        memory_pools: gpu.pools,
    }
}

fn gpu_problem(error: &GpuError) -> Problem {
    Problem { error: error.to_string(), hint: error.hint() }
}

fn llm_report(outlook: anyhow::Result<Outlook>) -> LlmReport {
    match outlook {
        Ok(Outlook { device, plan, free, problem }) => LlmReport {
            device: Some(device),
            plan: Some(PlanReport {
                context: plan.context,
                weights_bytes: plan.weights,
                kv_cache_bytes: plan.kv_cache,
                workspace_bytes: plan.workspace,
                margin_bytes: plan.margin,
                total_bytes: plan.total(),
            }),
            free_bytes: free,
            problem: problem.as_ref().map(gpu_problem),
        },
        Err(error) => LlmReport {
            device: None,
            plan: None,
            free_bytes: None,
            problem: Some(Problem {
                error: format!("{error:#}"),
                hint: "`rag-query models verify` checks the catalogue's files".to_owned(),
            }),
        },
    }
}

fn index_report(setup: &Setup) -> IndexReport {
    let path = setup.index.to_string();
    let counted =
        setup.index.open().and_then(|index| Ok((index.chunk_count(), index.document_count()?)));
    match counted {
        Ok((chunks, documents)) => {
            IndexReport { path, chunks: Some(chunks), documents: Some(documents), problem: None }
        }
        Err(error) => IndexReport {
            path,
            chunks: None,
            documents: None,
            problem: Some(Problem { error: error.to_string(), hint: error.hint().to_owned() }),
        },
    }
}

fn scans_report(setup: &Setup) -> ScansReport {
    let reading = &setup.global.reading;
    let programs = programs_unwatched(reading);
    let version =
        programs.ocr.as_ref().map_or(Err(NoOcr::Off), |ocr| Ok(ocr.version()?.to_owned()));
    ScansReport {
        problem: version.as_ref().err().map(ToString::to_string),
        program: version.ok(),
        languages: reading.ocr_languages.clone(),
    }
}
