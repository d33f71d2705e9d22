//! Models split into several GGUF files.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Value;

use super::gguf_file::{Model, Tensor};
use super::{read, refused, tiny};
use crate::generation::local::LlmFiles;
use crate::generation::local::checkpoint::files::{Opened, open};
use crate::generation::local::checkpoint::gguf::Gguf;

/// Splits the tiny model as `gguf-split` does, and returns the paths of the parts.
fn split(dir: &Path, parts: usize) -> Vec<PathBuf> {
    let tiny = Model::tiny();
    let total = tiny.tensors.len();
    let paths: Vec<PathBuf> = (1..=parts)
        .map(|number| dir.join(format!("tiny-{number:05}-of-{parts:05}.gguf")))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        // The first part holds no tensors, as with `--no-tensor-first-split`.
        let share = |number: usize| number.saturating_sub(1) * total / (parts - 1);
        let tensors = match number {
            0 => vec![],
            _ => tiny.tensors[share(number)..share(number + 1)].to_vec(),
        };
        let metadata = if number == 0 { tiny.metadata.clone() } else { vec![] };
        let model = Model { metadata, tensors, ..tiny.clone() }
            .set("split.no", Value::U16(number as u16))
            .set("split.count", Value::U16(parts as u16))
            .set("split.tensors.count", Value::I32(total as i32));
        fs::write(path, model.bytes()).unwrap();
    }
    paths
}

#[test]
fn a_split_model_opens_as_one_by_any_part() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Gguf::open(&tiny().join("model.gguf")).unwrap();
    for path in split(dir.path(), 4) {
        let gguf = Gguf::open(&path).unwrap();
        assert_eq!(gguf.weight_bytes(), whole.weight_bytes());
        for (name, _) in whole.shapes() {
            let (a, b) = (gguf.view(name).unwrap(), whole.view(name).unwrap());
            assert_eq!((a.dtype, &a.shape, &*a.data), (b.dtype, &b.shape, &*b.data), "{name}");
        }
        let Opened { config, .. } = open(&LlmFiles::Gguf(path)).unwrap();
        assert_eq!(config, read(&super::whole()).unwrap().config);
    }
}

#[test]
fn a_split_model_that_is_not_whole_is_refused_by_file() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Gguf::open(path).map(drop);
    let paths = split(dir.path(), 4);
    let third = fs::read(&paths[2]).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    let message =
        refused("a missing part", "tiny-00003-of-00004.gguf is missing", || open(&paths[0]));
    assert!(message.contains("part 3 of 4"), "{message}");
    refused("a missing part", "tiny-00003-of-00004.gguf", || open(&paths[3]));
    fs::copy(&paths[1], &paths[2]).unwrap();
    refused("a part twice", "is not part 3 of 4", || open(&paths[0]));
    fs::write(&paths[2], &third[..third.len() - 100]).unwrap();
    refused("a part cut off", "tiny-00003-of-00004.gguf", || open(&paths[0]));
    fs::write(&paths[2], super::whole()).unwrap();
    refused("a whole model as a part", "is not part 3 of 4", || open(&paths[0]));
    fs::write(&paths[2], &third).unwrap();
    open(&paths[0]).unwrap();
    let renamed = dir.path().join("model.gguf");
    fs::copy(&paths[1], &renamed).unwrap();
    refused("a part under another name", "-00002-of-00004.gguf", || open(&renamed));

    let part = |number: u16, count: u16, total: i32, tensors: &[Tensor]| {
        let keys = Model { metadata: vec![], tensors: tensors.to_vec(), ..Model::tiny() };
        keys.set("split.no", Value::U16(number))
            .set("split.count", Value::U16(count))
            .set("split.tensors.count", Value::I32(total))
            .bytes()
    };
    let tensors = Model::tiny().tensors;
    let paths =
        ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"].map(|name| dir.path().join(name));
    fs::write(&paths[0], part(0, 2, 5, &tensors[..2])).unwrap();
    fs::write(&paths[1], part(1, 2, 5, &tensors[2..4])).unwrap();
    refused("a tensor fewer", "4 tensors together, not 5", || open(&paths[0]));
    fs::write(&paths[1], part(1, 2, 5, &tensors[1..4])).unwrap();
    refused("a tensor in two parts", &tensors[1].name, || open(&paths[0]));
    fs::write(&paths[0], part(7, 2, 5, &tensors[..2])).unwrap();
    refused("part 8 of 2", "split.no", || open(&paths[0]));
    fs::write(&paths[0], part(0, u16::MAX, 5, &tensors[..2])).unwrap();
    refused("65535 parts", "-of-65535.gguf", || open(&paths[0]));
}
