use std::fs;

use unicode_normalization::UnicodeNormalization;

use super::*;
use crate::documents::formats::supported;

/// A folder with these files, each with some text.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (folder, root)
}

fn found(paths: &[PathBuf]) -> Result<Walk, ReadError> {
    walk(paths, &Filter::default())
}

/// The names of the files that are taken when `root` is indexed.
fn taken(root: &Path) -> Vec<String> {
    names(&found(&[root.to_owned()]).unwrap())
}

fn names(walk: &Walk) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    walk.files.iter().map(name).collect()
}

fn left_out(walk: &Walk) -> Vec<(Reason, usize)> {
    walk.left_out.iter().map(|(reason, group)| (reason.clone(), group.files)).collect()
}

fn ignored(by: &Path, pattern: &str) -> Reason {
    Reason::Ignored { by: by.to_str().unwrap().to_owned(), pattern: pattern.to_owned() }
}

fn of_type(extension: &str) -> Reason {
    Reason::UnknownType { extension: Some(extension.to_owned()) }
}

#[test]
fn finds_supported_files_sorted_and_once() {
    let files = ["b.md", "a.TXT", "sub/c.jsonl", "d.markdown", "e.gif", ".hidden.md", "README"];
    let (_folder, root) = folder(&files.map(|name| (name, "x")));
    fs::write(root.join("program"), b"\x7FELF\x02\0\0").unwrap();
    let walk = found(&[root.clone(), root.join("sub/../b.md"), root.join("sub")]).unwrap();
    assert_eq!(names(&walk), ["README", "a.TXT", "b.md", "d.markdown", "c.jsonl"]);
    assert!(walk.files.iter().all(|path| path.is_absolute()));
    assert!(walk.problems.is_empty() && walk.is_complete);
    let unknown = Reason::UnknownType { extension: None };
    assert_eq!(left_out(&walk), [(Reason::Hidden, 1), (unknown, 1), (of_type("gif"), 1)]);
    // Each file once, although some were named twice.
    assert_eq!(walk.file_count(), 8);
}

#[test]
fn every_file_is_taken_or_counted_with_its_reason() {
    let (_folder, root) = folder(&[
        ("a.md", "x"),
        ("x.lst", "text of a kind that nobody listed"),
        ("song.mp3", "x"),
        ("blob.xyz", "\0\0"),
        (".git/objects/ab/cd", "x"),
        (".git/HEAD", "x"),
        (".gitignore", "build/\n*.tmp\n"),
        ("build/out/deep/a.md", "x"),
        ("build/b.md", "x"),
        ("one.tmp", "x"),
        ("two.tmp", "x"),
        ("draft.md~", "x"),
        ("~$letter.docx", "x"),
        ("skipped.txt", "x"),
        ("other.rst", "x"),
    ]);
    let filter =
        Filter::new(&["*".to_owned(), "!*.rst".to_owned()], &["*.txt".to_owned()]).unwrap();
    let walk = walk(std::slice::from_ref(&root), &filter).unwrap();
    assert_eq!(names(&walk), ["a.md", "x.lst"]);
    let rules = root.join(".gitignore");
    assert_eq!(
        left_out(&walk),
        [
            (ignored(&rules, "*.tmp"), 2),
            (ignored(&rules, "build/"), 2),
            (Reason::Hidden, 5),
            (Reason::Excluded { pattern: "*.txt".to_owned() }, 1),
            (Reason::NotIncluded, 1),
            (of_type("mp3"), 1),
            (of_type("xyz"), 1),
        ]
    );
    assert_eq!(walk.file_count(), 15);
    for (reason, group) in walk.left_out.iter() {
        let example = PathBuf::from(&group.example);
        let LookedAt { files, problems } = look_at(&root, &filter, &example);
        assert!(problems.is_empty());
        assert_eq!(files, [(example, Some(reason.clone()))].into());
    }
    let one = root.join("a.md");
    assert_eq!(look_at(&root, &filter, &one).files, [(one, None)].into());
    let built = look_at(&root, &filter, &root.join("build")).files;
    assert_eq!(built.len(), 2);
    assert!(built.values().all(|reason| *reason == Some(ignored(&rules, "build/"))));
}

#[test]
fn ignore_files_hold_inside_and_outside_of_repositories() {
    for is_repository in [false, true] {
        let (_folder, root) = folder(&[
            (".gitignore", "secret.md\r\n# no pattern\r\n*.bak.md\r\n!kept.bak.md\r\n"),
            ("secret.md", "x"),
            ("open.md", "x"),
            ("a.bak.md", "x"),
            ("kept.bak.md", "x"),
            ("sub/.ragignore", "/own.md\n!secret.md\n"),
            ("sub/own.md", "x"),
            ("sub/secret.md", "x"),
            ("sub/deep/own.md", "x"),
            ("sub/.ignore", "deep/ignored.md"),
            ("sub/deep/ignored.md", "x"),
        ]);
        if is_repository {
            fs::create_dir_all(root.join(".git/info")).unwrap();
            fs::write(root.join(".git/info/exclude"), "open.md\n").unwrap();
        }
        let open: &[&str] = if is_repository { &[] } else { &["open.md"] };
        let wanted = [&["kept.bak.md"], open, &["own.md", "secret.md"]].concat();
        assert_eq!(taken(&root), wanted, "{is_repository}");
        // What is named is taken in any case.
        assert_eq!(names(&found(&[root.join("secret.md")]).unwrap()), ["secret.md"]);
        let walk = found(&[root.clone(), root.join("secret.md")]).unwrap();
        assert!(names(&walk).contains(&"secret.md".to_owned()));
        assert!(
            !left_out(&walk)
                .iter()
                .any(|(reason, _)| *reason == ignored(&root.join(".gitignore"), "secret.md"))
        );
    }
}

#[test]
fn a_repository_does_not_follow_the_rules_of_one_around_it() {
    let (_folder, root) = folder(&[
        (".git/HEAD", "x"),
        (".gitignore", "*.log.md\n"),
        (".ragignore", "private.md\n"),
        ("a.log.md", "x"),
        ("inner/.git", "gitdir: elsewhere"),
        ("inner/b.log.md", "x"),
        ("inner/private.md", "x"),
    ]);
    assert_eq!(taken(&root), ["b.log.md"]);
    assert_eq!(taken(&root.join("inner")), ["b.log.md"]);
}

#[test]
fn a_folder_that_is_named_is_taken_even_if_rules_around_it_ignore_it() {
    let rules = "docs/*\nnotes\n*\nbuild/**\n*.tmp.md\nsub/private.md\n";
    let (_folder, root) = folder(&[
        (".gitignore", rules),
        ("docs/x/a.md", "x"),
        ("docs/b.md", "x"),
        ("docs/c.tmp.md", "x"),
        ("docs/sub/private.md", "x"),
        ("notes/d.md", "x"),
        ("build/e.md", "x"),
    ]);
    assert!(taken(&root).is_empty());
    // Rules about some of its files hold.
    let docs = found(&[root.join("docs")]).unwrap();
    assert_eq!(names(&docs), ["b.md", "private.md", "a.md"]);
    assert_eq!(left_out(&docs), [(ignored(&root.join(".gitignore"), "*.tmp.md"), 1)]);
    assert_eq!(taken(&root.join("notes")), ["d.md"]);
    assert_eq!(taken(&root.join("build")), ["e.md"]);
    // Its own rules hold in any case.
    fs::write(root.join("notes/.gitignore"), "*").unwrap();
    assert!(taken(&root.join("notes")).is_empty());
}

#[test]
fn rules_and_names_may_be_written_in_another_normal_form() {
    let decomposed: String = "Bệnh án.md".nfd().collect();
    let rule: String = "Lương*".nfd().collect();
    let (_folder, root) = folder(&[
        (&decomposed, "x"),
        (".ragignore", &format!("Bệnh án.md\n{rule}\n")),
        ("Lương tháng 5.md", "x"),
        ("khác.md", "x"),
        (&format!("{decomposed} thư mục/b.md"), "x"),
    ]);
    assert_eq!(taken(&root), ["b.md", "khác.md"]);
    let named = found(&[root.join("Bệnh án.md thư mục/b.md"), root.join("Bệnh án.md")]).unwrap();
    assert_eq!(named.files.len(), 2);
    assert!(named.files[0].ends_with(&decomposed), "{named:?}");
}

#[test]
fn ignore_files_are_read_as_windows_writes_them() {
    let (_folder, root) = folder(&[("secret.md", "x"), ("a.md", "x")]);
    let units = "\u{feff}secret.md\r\n".encode_utf16().flat_map(u16::to_le_bytes);
    fs::write(root.join(".ragignore"), units.collect::<Vec<u8>>()).unwrap();
    assert_eq!(taken(&root), ["a.md"]);
    fs::write(root.join(".ragignore"), "\u{feff}secret.md\r\n").unwrap();
    assert_eq!(taken(&root), ["a.md"]);
    // In no encoding at all, the lines in ASCII hold.
    fs::write(root.join(".ragignore"), b"secret.md\ncaf\xe9.md\n").unwrap();
    assert_eq!(taken(&root), ["a.md"]);
}

#[test]
fn a_line_that_is_no_pattern_is_named_and_the_others_hold() {
    let (_folder, root) = folder(&[(".ragignore", "{a\nsecret.md\n"), ("secret.md", "x")]);
    let walk = found(&[root]).unwrap();
    assert!(walk.files.is_empty());
    assert!(walk.is_complete);
    let problem = walk.problems[0].to_string();
    assert!(problem.contains(".ragignore`, line 1: "), "{problem}");
}

#[test]
fn a_folder_whose_rules_cannot_be_read_is_left_out() {
    let (_folder, root) = folder(&[("a.md", "x"), ("sub/secret.md", "x")]);
    fs::File::create(root.join("sub/.ragignore")).unwrap().set_len(2 << 20).unwrap();
    let walk = found(&[root]).unwrap();
    assert_eq!(names(&walk), ["a.md"]);
    assert!(!walk.is_complete);
    assert!(matches!(walk.problems[..], [ReadError::IgnoreFile { .. }]), "{walk:?}");
}

#[test]
fn patterns_choose_among_the_files_of_folders() {
    let (_folder, root) = folder(
        &["a.md", "b.txt", "sub/c.MD", "sub/deep/d.md", "sub/e.txt", "secret.md"]
            .map(|name| (name, "x")),
    );
    fs::write(root.join(".ragignore"), "secret.md\n").unwrap();
    let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    let filter =
        |include: &[&str], exclude: &[&str]| Filter::new(&owned(include), &owned(exclude)).unwrap();
    let choose = |include: &[&str], exclude: &[&str]| {
        names(&walk(std::slice::from_ref(&root), &filter(include, exclude)).unwrap())
    };
    assert_eq!(choose(&[], &[]), ["a.md", "b.txt", "c.MD", "d.md", "e.txt"]);
    // A pattern does not bring back a file that is ignored.
    assert_eq!(choose(&["*.md"], &[]), ["a.md", "c.MD", "d.md"]);
    assert_eq!(choose(&["*.md"], &["deep/"]), ["a.md", "c.MD"]);
    assert_eq!(choose(&["sub/**"], &["*.txt"]), ["c.MD", "d.md"]);
    assert_eq!(choose(&["/*.md", "*.txt"], &["sub"]), ["a.md", "b.txt"]);
    assert!(Filter::new(&["{a".to_owned()], &[]).is_err());
    let some = filter(&["*.md", "*.pdf"], &["drafts/"]);
    let walk = walk(std::slice::from_ref(&root), &some).unwrap();
    assert_eq!(walk.unmatched, ["*.pdf", "drafts/"]);
    assert!(walk.covers(&root.join("sub/new.md")) && !walk.covers(&root.join("b.txt")));
    assert!(!walk.covers(Path::new("/elsewhere/a.md")));
}

#[test]
fn an_index_is_not_indexed() {
    let (_folder, root) = folder(&[
        ("a.md", "x"),
        ("index/own.md", "x"),
        ("index/manifest.json", "{}"),
        ("index/generation-12/documents-1.log", "text"),
        ("index/generation-12/lexical/meta.json", "{}"),
        ("index/generation-gap.md", "x"),
        ("other/generation-1/b.md", "x"),
    ]);
    let walk = found(&[root]).unwrap();
    assert_eq!(names(&walk), ["a.md", "generation-gap.md", "own.md", "b.md"]);
    assert_eq!(left_out(&walk), [(Reason::Index, 3)]);
}

#[test]
fn mistakes_in_the_command_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let missing = found(&[folder.path().join("nowhere")]).unwrap_err();
    assert!(matches!(missing, ReadError::Missing { .. }), "{missing}");
    for name in ["a.gif", "program"] {
        let file = folder.path().join(name);
        fs::write(&file, "x\0\0").unwrap();
        let unsupported = found(&[file]).unwrap_err();
        assert!(unsupported.to_string().contains(&supported()), "{unsupported}");
    }
}

#[test]
fn files_that_are_left_to_others_are_there_all_the_same() {
    let (_folder, root) = folder(&[("a.md", "x"), ("sub/b.md", "x"), ("sub/c.md", "x")]);
    let mut walk = found(std::slice::from_ref(&root)).unwrap();
    walk.share(|path| path.ends_with("a.md"));
    assert_eq!(names(&walk), ["a.md"]);
    assert_eq!(left_out(&walk), [(Reason::OtherShard, 2)]);
    assert!(walk.has_documents_under(&root.join("sub")));
    assert!(!walk.has_documents_under(&root.join("su")));
}

#[cfg(unix)]
#[test]
fn links_and_devices_are_counted_and_not_followed() {
    use std::os::unix::fs::symlink;

    let device = found(&[PathBuf::from("/dev/null")]).unwrap_err();
    assert!(matches!(device, ReadError::NotAFile { .. }), "{device}");

    let (_folder, root) = folder(&[("a.md", "x"), (".gitignore", "ignored\n")]);
    symlink(&root, root.join("loop")).unwrap();
    symlink("/nowhere", root.join("dangling.md")).unwrap();
    symlink(root.join("a.md"), root.join("ignored")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket.md")).unwrap();
    let walk = found(std::slice::from_ref(&root)).unwrap();
    assert_eq!(names(&walk), ["a.md"]);
    let ignored = ignored(&root.join(".gitignore"), "ignored");
    let others = [(Reason::Hidden, 1), (Reason::Link, 2), (Reason::NotAFile, 1)];
    assert_eq!(left_out(&walk), [&[(ignored, 1)], &others[..]].concat());
    // A link that is named is followed.
    assert_eq!(names(&found(&[root.join("loop")]).unwrap()), ["a.md"]);
}
