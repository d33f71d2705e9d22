//! End-to-end answers with the LLM on a simulated GPU: the user sees what the driver reports.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::answer::{Answer, AnswerOptions, Conversation, Event};
use crate::documents::{self, Filter};
use crate::generation::local::SamplingOptions;
use crate::generation::local::placement::gpu::fake::{FakeDriver, GIB, allow_allocations, gpu};
use crate::generation::local::placement::gpu::{GpuError, gib};
use crate::index::update::Indexer;
use crate::index::{DirectoryIndex, DirectoryWriter, Start};
use crate::models::{Catalogue, HubSettings, ModelStore};
use crate::profile::{Models, Overrides};
use crate::terminal::exit::{Exit, report};
use crate::terminal::{DownloadBars, Lang, Terminal};

const CATALOGUE: &str = include_str!("../../tests/fixtures/tiny-models.toml");

/// An index of one note, and the models of [`CATALOGUE`], with the LLM not yet loaded.
struct World {
    _folder: tempfile::TempDir,
    terminal: Terminal,
    index: DirectoryIndex,
    models: Models,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let catalogue = CATALOGUE.replace("MODELS", goldens.to_str().unwrap());
        fs::write(root.join("catalogue.toml"), catalogue).unwrap();
        fs::write(root.join("note.txt"), "The coffee machine is cleaned every Friday.\n").unwrap();
        let terminal = Terminal::new(Lang::En, true);
        let store = ModelStore {
            models_dirs: vec![root.to_owned()],
            hub: HubSettings { offline: true, ..HubSettings::from_env() },
            state_dir: root.to_owned(),
            progress: Arc::new(DownloadBars::new(terminal)),
        };
        let profile = Catalogue::load(Some(&root.join("catalogue.toml"))).unwrap();
        let profile = profile.profile("tiny-cuda").unwrap();
        let models = Models::new(&profile, &store, &Overrides::default()).unwrap();
        let paths = [root.join("note.txt")];
        let walk = documents::walk(&paths, &Filter::default()).unwrap();
        let index = root.join("index");
        let settings = models.index_settings.clone();
        let writer = DirectoryWriter::open(&index, settings, Start::Update).unwrap();
        let (stop, mut watch) = (AtomicBool::new(false), |_| {});
        let embedder = models.embedder.get().unwrap();
        let indexer = Indexer::new(Box::new(writer), embedder, Start::Update, &stop, &mut watch);
        indexer.update(&walk).unwrap();
        let index = DirectoryIndex::open(&index).unwrap();
        Self { _folder: folder, terminal, index, models }
    }

    /// The answer, and the message shown once the LLM was loaded.
    fn ask(&self) -> anyhow::Result<(Answer, Option<String>)> {
        let sampling = SamplingOptions { max_tokens: 12, ..SamplingOptions::default() };
        let options = AnswerOptions { top_k: 3, sampling, ..AnswerOptions::default() };
        let answerer = self.models.answerer(&self.index, options, Duration::ZERO)?;
        let mut loaded = None;
        let answer = Conversation::new(&answerer).ask(
            "When is the coffee machine cleaned?",
            &AtomicBool::new(false),
            &mut |event| {
                if let Event::LlmLoaded { placed, .. } = event {
                    loaded = Some(Lang::En.llm_loaded(&placed, Duration::ZERO));
                }
            },
        )?;
        Ok((answer, loaded))
    }
}

#[test]
fn what_the_driver_measured_after_loading_is_told_beside_the_plan() {
    FakeDriver::install(gpu(0, 20 * GIB), 3 * GIB);
    let world = World::new();
    let (answer, loaded) = world.ask().unwrap();
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["placement"]["llm"], "cuda:0", "{json}");
    assert_eq!(json["placement"]["embedder"], "cpu", "{json}");
    let llm = world.models.llm.loaded().unwrap();
    let memory = llm.placed().memory.clone().unwrap();
    assert_eq!(memory.measured, Some(3 * GIB), "what is gone since the plan was made");
    assert!(memory.planned > 0 && memory.planned < 3 * GIB, "{memory:?}");
    let loaded = loaded.expect("the LLM was loaded for this answer");
    let planned = format!("3.0 GiB VRAM (planned {})", gib(memory.planned));
    assert!(loaded.contains("cuda:0 (Fake RTX)") && loaded.contains(&planned), "{loaded}");
    // The second time, the LLM is not loaded again, and the answer is the same.
    let (again, loaded) = world.ask().unwrap();
    assert_eq!((again.answer, loaded), (answer.answer, None));
}

#[test]
fn a_gpu_that_runs_out_of_memory_in_mid_answer_ends_with_code_4_and_answers_again() {
    let driver = FakeDriver::install(gpu(0, 20 * GIB), 3 * GIB);
    let world = World::new();
    let (whole, _) = world.ask().unwrap();
    assert!(whole.tokens.generated > 4, "{whole:?}");
    driver.set_free(0, 1 << 20);
    // Fails in the prompt's first layer, in its second, and after some tokens.
    for layers in [0, 1, 7] {
        allow_allocations(layers);
        let error = world.ask().map(|(answer, _)| answer.answer).unwrap_err();
        let text = format!("{error:#}");
        for part in ["ran out while the LLM answered", "free 0.0 of 24.0 GiB", "cuda:0 (Fake RTX)"]
        {
            assert!(text.contains(part), "{text}");
        }
        let gpu = error.chain().find_map(|cause| cause.downcast_ref::<GpuError>()).unwrap();
        assert!(gpu.hint().contains("--device cpu"), "{}", gpu.hint());
        assert_eq!(report(world.terminal, &error), Exit::NoGpu);
        let (again, _) = world.ask().expect("the LLM is still there");
        assert_eq!(again.answer, whole.answer, "and nothing of the broken answer is left in it");
    }
}

#[test]
fn a_gpu_that_runs_out_of_memory_while_loading_can_be_tried_again() {
    let driver = FakeDriver::install(gpu(0, 1 << 20), 3 * GIB);
    let world = World::new();
    let error = world.ask().map(|(answer, _)| answer.answer).unwrap_err();
    assert!(format!("{error:#}").contains("does not fit into the GPU's memory"), "{error:#}");
    assert_eq!(report(world.terminal, &error), Exit::NoGpu);
    assert!(world.models.llm.loaded().is_none());
    driver.set_free(0, 20 * GIB);
    assert_eq!(world.ask().unwrap().0.placement.llm.as_deref(), Some("cuda:0"));
}
