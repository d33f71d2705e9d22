//! Files that have to be downloaded, and what is known of them before that.

use super::ModelError;
use super::catalogue::RequiredFile;
use super::download::Download;
use super::files::ModelFiles;
use super::hub::Repository;
use super::transfer::{Announced, Client};
use crate::support::{disk, tls};

/// Where a model's files are.
pub(crate) enum Found<'a> {
    /// On this machine.
    Here(ModelFiles),
    /// Some of them still on a hub.
    OnHub(Box<Missing<'a>>),
}

/// A model's files, some of which are still on a hub.
pub(crate) struct Missing<'a> {
    pub(super) repository: Repository<'a>,
    pub(super) client: Client<'a>,
    pub(super) commit: String,
    /// All files.
    pub(super) names: Vec<String>,
    /// Those that are not here.
    pub(super) wanted: Vec<(String, Announced)>,
}

impl<'a> Missing<'a> {
    /// Looks for all files at a single commit, in the cache and then on the hub.
    pub fn find(
        repository: Repository<'a>,
        files: &[RequiredFile],
    ) -> Result<Found<'a>, ModelError> {
        let records = repository.hub.records();
        let cached = repository.cached_commit();
        let here = |commit: &str, file: &RequiredFile| {
            file.existing(|name| repository.cached_file(&records, commit, name).is_some())
                .map(str::to_owned)
        };
        let missing = match &cached {
            Some(commit) => {
                let names: Vec<_> = files.iter().map_while(|file| here(commit, file)).collect();
                match files.get(names.len()) {
                    None => return Ok(Found::Here(repository.snapshot(commit, &names))),
                    Some(missing) => missing,
                }
            }
            None => match files.first() {
                None => return Ok(Found::Here(ModelFiles::new(repository.model, None))),
                Some(first) => first,
            },
        };
        if repository.hub.settings.offline {
            let file = Box::new(repository.remote(repository.revision, missing.preferred()));
            return Err(ModelError::NotCached {
                file,
                cache: repository.hub.settings.cache_dir.clone(),
            });
        }

        let client = Client::new(repository.hub.settings, tls::roots()?);
        // The branch may have moved since the cache was filled. Take all files from its current
        // commit.
        let (_, Announced { commit, .. }) =
            Self::announce(&repository, &client, repository.revision, missing)?;
        let (mut names, mut wanted) = (Vec::new(), Vec::new());
        for file in files {
            let name = if let Some(name) = here(&commit, file) {
                name
            } else {
                let (name, announced) = Self::announce(&repository, &client, &commit, file)?;
                if announced.commit != commit {
                    let file = repository.remote(&commit, &name);
                    return Err(client.bad_answer(&file, "it belongs to another commit"));
                }
                wanted.push((name.clone(), announced));
                name
            };
            names.push(name);
        }
        Ok(Found::OnHub(Box::new(Self { repository, client, commit, names, wanted })))
    }

    /// What the hub says of a file, under the first name that it knows.
    fn announce(
        repository: &Repository,
        client: &Client,
        revision: &str,
        file: &RequiredFile,
    ) -> Result<(String, Announced), ModelError> {
        for name in file.names() {
            match client.announce(&repository.remote(revision, name)) {
                Err(ModelError::NotFound { .. }) => {}
                announced => return announced.map(|announced| (name.clone(), announced)),
            }
        }
        let asked = repository.remote(revision, &file.names().join("` or `"));
        let there = client.files(&asked).unwrap_or_default();
        Err(client.not_found(asked, there))
    }

    /// Bytes of weights among the missing files.
    pub fn weights(&self) -> u64 {
        let is_weights = |name: &str| {
            [".gguf", ".safetensors", ".bin"].iter().any(|extension| name.ends_with(extension))
        };
        self.wanted.iter().filter(|(name, _)| is_weights(name)).map(|(_, file)| file.size).sum()
    }

    /// Downloads what is missing, if there is room for it.
    ///
    /// # Errors
    /// A file cannot be downloaded, or the disk is too small.
    pub fn download(self) -> Result<ModelFiles, ModelError> {
        let Self { repository, client, commit, names, wanted } = self;
        let folder = &repository.hub.settings.cache_dir;
        let left = |file: &Announced| file.size - repository.already(file);
        let download = Download {
            repo: repository.repo.to_owned(),
            files: wanted.len(),
            bytes: wanted.iter().map(|(_, file)| left(file)).sum(),
            free: disk::free(folder),
            folder: folder.clone(),
        };
        if download.free.is_some_and(|free| free < download.bytes) {
            return Err(ModelError::NoSpace(Box::new(download)));
        }
        if download.bytes > 0 {
            repository.hub.progress.begin(&download);
        }
        for (name, announced) in &wanted {
            repository.fetch(&client, &commit, name, announced)?;
        }
        repository.refer(&commit)?;
        Ok(repository.snapshot(&commit, &names))
    }
}
