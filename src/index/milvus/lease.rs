//! A lease that keeps two writers from changing the same documents concurrently.
//!
//! Milvus has no locks. A writer adds a claim to the ledger and then checks for other claims: if
//! two writers start together, whichever checks last sees the other's. While working, it keeps
//! incrementing its claim's counter. A claim that stays unchanged for 15 seconds by the waiting
//! writer's clock belongs to a dead writer and is removed.
//!
//! Consistency does not depend on the lease: chunk keys ensure it (see the writer), even if a
//! suspended machine wakes up to find its claim gone. The lease avoids duplicate embedding work,
//! and chunks from two versions of one document.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use milvus::v2::ClientV2;
use milvus::v2::error::Result as Answered;
use milvus::v2::request::collection::LoadCollectionRequest;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::error::MilvusError;
use super::keys::{entry_key, key};
use super::ledger::{CLAIM, Entry, entry_columns};
use super::names::CollectionNames;
use super::requests::{is_empty, one_of, strong, upsert};
use super::server::Server;
use crate::index::{IndexError, Notice, Settings, Shard};
use crate::support::random::SplitMix64;

/// How often a writer renews its claim.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How often to check whether other writers are still alive.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Checks without a change after which a claim is dead: 15 s, the time of seven beats. Counted in
/// checks rather than time, because no claim changes while a server is down.
const DEAD_AFTER: u32 = 30;
/// Checks after which the user is told what is being waited for.
const NOTICE_AFTER: u32 = 10;
/// How often two writers that start together back off from each other.
const MAX_TRIES: u32 = 20;
/// Time allowed for removing the claim at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A writer's entry in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claim {
    /// The files it works on.
    shard: Shard,
    /// A hash of its settings: two writers must not start an index with different ones.
    settings: i64,
    host: String,
    process: u32,
    /// Incremented while the writer is alive.
    beat: u64,
}

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        self.shard.overlaps(other.shard) || self.settings != other.settings
    }

    /// Describes the writer in messages.
    fn writer(&self) -> String {
        let Self { shard, host, process, .. } = self;
        let part = if shard.is_whole() { String::new() } else { format!(" with --shard {shard}") };
        format!("process {process} on {host}{part}")
    }

    fn entry<'a>(&self, name: &'a str) -> Entry<'a> {
        let body = serde_json::to_string(self).expect("a claim is plain data");
        Entry { kind: CLAIM, name, chunks: 0, body }
    }
}

/// The right to write, held until dropped.
pub struct Lease {
    server: Arc<Server>,
    ledger: String,
    /// Name of the claim's entry.
    name: String,
    /// Set if another writer has removed the claim.
    lost: Arc<AtomicBool>,
    /// Dropping the sender stops the beats.
    beats: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Waits for the right to write to the files in `shard`. Fails if another writer is known to be
    /// alive. The ledger of `names` must exist.
    pub fn take(
        server: &Arc<Server>,
        names: &CollectionNames,
        shard: Shard,
        settings: &Settings,
    ) -> Result<Self, IndexError> {
        let settings = serde_json::to_vec(settings).expect("settings are plain data");
        let host = hostname::get().map_or_else(|_| "?".into(), |host| host.display().to_string());
        let process = std::process::id();
        let mut claim = Claim { shard, settings: key(&[&settings]), host, process, beat: 0 };
        let (name, seed) = unique(&claim);
        let mut random = SplitMix64::new(seed);
        let busy = |other: &Claim| MilvusError::Busy {
            address: server.address.to_string(),
            writer: other.writer(),
        };
        // For each conflicting claim: its last beat, and how many checks it has been unchanged.
        let mut watched: HashMap<String, (u64, u32)> = HashMap::new();
        let mut tries = 0;
        loop {
            let mut others = server.claims_against(names, &name, &claim)?;
            if others.is_empty() {
                server.put_entries(names, &[claim.entry(&name)])?;
                others = server.claims_against(names, &name, &claim)?;
                let Some((_, other)) = others.first() else {
                    claim.beat += 1;
                    return Ok(Self::begin(server, names, name, claim));
                };
                server.delete_claim(names, &name)?;
                tries += 1;
                if tries == MAX_TRIES {
                    return Err(busy(other).into());
                }
                sleep(LOOK_INTERVAL.mul_f64(random.next()));
            }
            watched.retain(|name, _| others.iter().any(|(other, _)| other == name));
            for (name, other) in &others {
                let (beat, looks) = watched.entry(name.clone()).or_insert((other.beat, 0));
                if *beat != other.beat {
                    return Err(busy(other).into());
                }
                *looks += 1;
                if *looks == NOTICE_AFTER {
                    let address = server.address.to_string();
                    server.notify(&Notice::Waiting { address, writer: other.writer() });
                }
                if *looks >= DEAD_AFTER {
                    server.delete_claim(names, name)?;
                }
            }
            sleep(LOOK_INTERVAL);
        }
    }

    fn begin(server: &Arc<Server>, names: &CollectionNames, name: String, claim: Claim) -> Self {
        let (ledger, lost) = (names.ledger(), Arc::new(AtomicBool::new(false)));
        let (stop, stopped) = oneshot::channel();
        let beats = {
            let (ledger, name, lost) = (ledger.clone(), name.clone(), lost.clone());
            server.spawn(|client| beats(client, ledger, name, claim, lost, stopped))
        };
        Self { server: server.clone(), ledger, name, lost, beats: Some((stop, beats)) }
    }

    /// Fails if another writer presumed this one dead.
    pub fn check(&self) -> Result<(), MilvusError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(MilvusError::Overtaken { address: self.server.address.to_string() });
        }
        Ok(())
    }
}

impl Drop for Lease {
    /// Removes the claim if the server responds, so that others need not wait for it to expire.
    fn drop(&mut self) {
        let Some((stop, beats)) = self.beats.take() else { return };
        drop(stop);
        let filter = one_of("id", &[entry_key(CLAIM, &self.name)]);
        let gone = async {
            // A late beat would recreate the claim.
            let _ = beats.await;
            self.server.delete_once(&self.ledger, &filter).await
        };
        let _ = self.server.wait(async { tokio::time::timeout(RELEASE_TIMEOUT, gone).await });
    }
}

/// Renews a claim until `stopped`, or until it is gone. Failed beats are skipped.
async fn beats(
    client: ClientV2,
    ledger: String,
    name: String,
    mut claim: Claim,
    lost: Arc<AtomicBool>,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(BEAT_INTERVAL) => {}
        }
        claim.beat += 1;
        match beat(&client, &ledger, &name, &claim).await {
            Ok(true) => {}
            Ok(false) => {
                lost.store(true, Ordering::SeqCst);
                return;
            }
            // After a restart, the server may not have loaded the ledger.
            Err(_) => {
                let request = LoadCollectionRequest::builder().collection_name(&ledger).build();
                if let Ok(request) = request {
                    let _ = client.load_collection(request).await;
                }
            }
        }
    }
}

/// Renews a claim unless it is gone; returns whether it still existed.
async fn beat(client: &ClientV2, ledger: &str, name: &str, claim: &Claim) -> Answered<bool> {
    let filter = one_of("id", &[entry_key(CLAIM, name)]);
    let found = client.query(strong(ledger, &filter, &["id"])?).await?;
    if is_empty(found.results().get_output_fields()) {
        return Ok(false);
    }
    client.upsert(upsert(ledger, &entry_columns(&[claim.entry(name)]))?).await?;
    Ok(true)
}

/// A unique claim name, and a random seed derived from it.
fn unique(claim: &Claim) -> (String, u64) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let bits = key(&[
        claim.host.as_bytes(),
        &claim.process.to_le_bytes(),
        &now.as_nanos().to_le_bytes(),
        &COUNT.fetch_add(1, Ordering::SeqCst).to_le_bytes(),
    ])
    .cast_unsigned();
    (format!("{bits:016x}"), bits)
}

impl Server {
    /// Claims of other writers that conflict with `claim`, whose name is `name`.
    fn claims_against(
        &self,
        names: &CollectionNames,
        name: &str,
        claim: &Claim,
    ) -> Result<Vec<(String, Claim)>, IndexError> {
        let claims = self.entries(names, CLAIM)?.into_iter().map(|(name, body)| {
            let claim = serde_json::from_str(&body);
            let claim = claim.map_err(|error| self.damaged(format!("a writer's claim: {error}")));
            Ok((name, claim?))
        });
        let mut claims = claims.collect::<Result<Vec<(String, Claim)>, IndexError>>()?;
        claims.retain(|(other, of)| other != name && of.excludes(claim));
        claims.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(claims)
    }

    fn delete_claim(&self, names: &CollectionNames, name: &str) -> Result<(), MilvusError> {
        self.delete(&names.ledger(), &[entry_key(CLAIM, name)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_exclude_each_other_unless_parts_are_disjoint_and_settings_equal() {
        let claim = |shard: &str, settings| {
            let (shard, host) = (shard.parse().unwrap(), "host".to_owned());
            Claim { shard, settings, host, process: 7, beat: 0 }
        };
        assert!(!claim("1/2", 5).excludes(&claim("2/2", 5)));
        assert!(claim("1/2", 5).excludes(&claim("2/2", 6)));
        assert!(claim("1/2", 5).excludes(&claim("1/2", 5)));
        assert!(claim("1/1", 5).excludes(&claim("2/2", 5)));
        assert_eq!(claim("1/1", 5).writer(), "process 7 on host");
        assert_eq!(claim("2/3", 5).writer(), "process 7 on host with --shard 2/3");
        let same = claim("1/2", 5);
        assert_ne!(unique(&same), unique(&same));
    }
}
