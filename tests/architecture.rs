//! Imports go one way: between rooms in the order in which `src/lib.rs` declares them, and between
//! files without a circle.
//!
//! Imports are read as text: `use` declarations, and paths that begin with `crate::` or `super::`.
//! An import of a name that a module re-exports counts as one of the file that defines it. What a
//! `mod.rs` takes from its own children does not count, because it speaks for them; nor does test
//! code, which may look at everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A path from the crate's root: `["index", "directory"]`.
type ModulePath = Vec<String>;

struct Module {
    file: PathBuf,
    /// The source without comments and test modules.
    code: String,
    /// Public names that other modules define: name → where it is defined or re-exported.
    reexports: BTreeMap<String, ModulePath>,
}

struct Sources(BTreeMap<ModulePath, Module>);

impl Sources {
    fn read(root: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let file = entry.unwrap().path();
                if file.is_dir() {
                    folders.push(file);
                } else if file.extension().is_some_and(|extension| extension == "rs")
                    && file.file_name().is_some_and(|name| name != "tests.rs")
                {
                    let path = module_path(root, &file);
                    let code = production_code(&fs::read_to_string(&file).unwrap());
                    modules.insert(path, Module { file, code, reexports: BTreeMap::new() });
                }
            }
        }
        let mut sources = Self(modules);
        sources.find_reexports();
        sources
    }

    fn find_reexports(&mut self) {
        let paths: BTreeSet<ModulePath> = self.0.keys().cloned().collect();
        for (path, module) in &mut self.0 {
            for (public, tree) in use_declarations(&module.code) {
                for leaf in leaves(&tree).into_iter().filter(|_| public) {
                    if let Some(target) = absolute(path, &leaf.path, &paths) {
                        module.reexports.insert(leaf.name, target);
                    }
                }
            }
        }
    }

    /// The module whose file defines what `path` names.
    fn definition(&self, path: &[String]) -> ModulePath {
        let mut module = ModulePath::new();
        for (depth, name) in path.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.0.contains_key(&child) {
                module = child;
            } else {
                return match self.0[&module].reexports.get(name) {
                    Some(target) if target.as_slice() != path => {
                        self.definition(&[target.as_slice(), &path[depth + 1..]].concat())
                    }
                    _ => module,
                };
            }
        }
        module
    }

    /// Which modules each module imports from, test code apart.
    fn imports(&self) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
        let paths: BTreeSet<ModulePath> = self.0.keys().cloned().collect();
        let mut imports = BTreeMap::new();
        for (path, module) in &self.0 {
            let mut targets = BTreeSet::new();
            let declared = use_declarations(&module.code)
                .into_iter()
                .flat_map(|(_, tree)| leaves(&tree))
                .map(|leaf| leaf.path);
            for written in declared.chain(inline_paths(&module.code)) {
                let Some(target) = absolute(path, &written, &paths) else { continue };
                let target = self.definition(&target);
                let speaks_for = target.len() > path.len() && target.starts_with(path);
                if target != *path && !speaks_for {
                    targets.insert(target);
                }
            }
            imports.insert(path.clone(), targets);
        }
        imports
    }
}

fn module_path(root: &Path, file: &Path) -> ModulePath {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let mut path: ModulePath =
        relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

/// `source` without comments and without the items that `#[cfg(test)]` marks.
fn production_code(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(") && line.contains("test") {
            skip_item(&mut lines);
        } else {
            writeln!(code, "{line}").unwrap();
        }
    }
    code
}

/// Skips the item that an attribute stands before: to its `;`, or to the brace that closes it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut depth = 0_usize;
    for line in lines {
        depth += line.matches('{').count();
        depth = depth.saturating_sub(line.matches('}').count());
        let ends = line.trim_end().ends_with(['}', ';', ',']);
        if depth == 0 && ends && !line.trim_start().starts_with("#[") {
            return;
        }
    }
}

/// The trees of all `use` declarations, and whether each re-exports.
fn use_declarations(code: &str) -> Vec<(bool, String)> {
    let mut declarations = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("use ") {
        let before = rest[..start].rsplit('\n').next().unwrap_or_default().trim();
        let tree = &rest[start + "use ".len()..];
        let end = tree.find(';').unwrap_or(tree.len());
        if before.is_empty() || before.starts_with("pub") {
            declarations.push((before.starts_with("pub"), tree[..end].to_owned()));
        }
        rest = &tree[end..];
    }
    declarations
}

struct Leaf {
    path: Vec<String>,
    /// What the path is called where it is imported.
    name: String,
}

fn leaves(tree: &str) -> Vec<Leaf> {
    fn collect(prefix: &[String], tree: &str, found: &mut Vec<Leaf>) {
        let (head, branches) = match tree.split_once('{') {
            Some((head, branches)) => (head, branches.trim_end().strip_suffix('}')),
            None => (tree, None),
        };
        let (head, alias) = head.split_once(" as ").map_or((head, None), |(h, a)| (h, Some(a)));
        let mut path = prefix.to_vec();
        path.extend(
            head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned),
        );
        if let Some(branches) = branches {
            let mut depth = 0_usize;
            let parts = branches.split(|c: char| {
                depth = if c == '{' { depth + 1 } else { depth - usize::from(c == '}') };
                c == ',' && depth == 0
            });
            for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
                collect(&path, part, found);
            }
            return;
        }
        while path.last().is_some_and(|last| last == "*" || last == "self") {
            path.pop();
        }
        let name = alias.map(str::trim).or(path.last().map(String::as_str)).unwrap_or_default();
        found.push(Leaf { name: name.to_owned(), path });
    }
    let mut found = Vec::new();
    collect(&[], tree, &mut found);
    found
}

/// Paths outside `use` declarations that say where they begin.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let part_of_longer =
                code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            let end = code[at..].find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
            let path = &code[at..end.map_or(code.len(), |end| at + end)];
            if !part_of_longer && !path.ends_with("::") {
                paths.push(path.split("::").map(str::to_owned).collect());
            }
        }
    }
    paths
}

/// What `path` means in the module `here`; `None` for other crates.
fn absolute(
    here: &ModulePath,
    path: &[String],
    modules: &BTreeSet<ModulePath>,
) -> Option<ModulePath> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([here.as_slice(), rest].concat()),
        "super" => {
            let parent = here[..here.len().checked_sub(1)?].to_vec();
            match rest.first().map(String::as_str) {
                Some("super") => absolute(&parent, rest, modules),
                _ => Some([parent.as_slice(), rest].concat()),
            }
        }
        child => {
            let child = [here.as_slice(), &[child.to_owned()]].concat();
            modules.contains(&child).then(|| [here.as_slice(), path].concat())
        }
    }
}

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn rooms_import_only_from_the_rooms_declared_above_them() {
    let sources = sources();
    let declared: Vec<&str> = sources.0[&ModulePath::new()]
        .code
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    assert!(declared.len() > 10, "the rooms that lib.rs declares: {declared:?}");
    let position = |room: &str| declared.iter().position(|declared| *declared == room);
    let mut upward = String::new();
    for (module, imports) in sources.imports() {
        let Some(room) = module.first().filter(|room| *room != "main") else { continue };
        for import in imports.iter().filter(|import| !import.is_empty()) {
            if position(&import[0]) > position(room) {
                writeln!(upward, "{} → {}", module.join("::"), import.join("::")).unwrap();
            }
        }
    }
    assert!(upward.is_empty(), "imports of rooms that lib.rs declares further down:\n{upward}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let imports = sources.imports();
    let reachable: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
        imports.keys().map(|module| (module, reachable(module, &imports))).collect();
    let mut circles = String::new();
    for (module, targets) in &imports {
        let back = |target: &&ModulePath| reachable[target].contains(module);
        let targets: Vec<String> =
            targets.iter().filter(back).map(|target| target.join("::")).collect();
        if !targets.is_empty() {
            let file = sources.0[module].file.display();
            writeln!(circles, "{file} → {}", targets.join(", ")).unwrap();
        }
    }
    assert!(circles.is_empty(), "imports that lead back to where they begin:\n{circles}");
}

/// Everything that `module` imports, directly or through others.
fn reachable<'a>(
    module: &'a ModulePath,
    imports: &'a BTreeMap<ModulePath, BTreeSet<ModulePath>>,
) -> BTreeSet<&'a ModulePath> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![module];
    while let Some(module) = waiting.pop() {
        waiting.extend(imports[module].iter().filter(|target| found.insert(*target)));
    }
    found
}

#[test]
fn an_import_against_the_order_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("lib.rs", "mod below;\n\nmod above;\n");
    write("above.rs", "pub struct Above;\n");
    write("below/mod.rs", "mod left;\nmod right;\npub use left::Left;\n");
    write(
        "below/left.rs",
        "use std::fs;\nuse super::{right::{self, Right as R}};\npub struct Left;\n",
    );
    write(
        "below/right.rs",
        "// use crate::above::Comment;\nuse super::Left;\npub struct Right;\n\
         fn f(_: crate::above::Above) {}\n#[cfg(test)]\nmod tests {\n    use crate::above::Test;\n}\n",
    );
    let imports = Sources::read(folder.path()).imports();
    let of = |path: &[&str]| {
        let path: ModulePath = path.iter().map(|part| (*part).to_owned()).collect();
        imports[&path].iter().map(|target| target.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(of(&["below"]), [""; 0]);
    assert_eq!(of(&["below", "left"]), ["below::right"]);
    assert_eq!(of(&["below", "right"]), ["above", "below::left"]);
}
