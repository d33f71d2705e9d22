//! Keeps two writers that might change the same documents from working at once.
//!
//! Milvus has no locks. A writer puts a claim into the ledger and then looks for other claims: of
//! two writers that come at once, the one that looks last sees the other's. While it works, it
//! keeps counting up its claim. A claim that does not change for 15 seconds, by the clock of the
//! one who waits, belongs to a writer that was killed, and is removed.
//!
//! The index stays consistent because chunks have keys (see the writer), even if a machine was
//! suspended for longer and finds its claim gone. The lease keeps two writers from embedding the
//! same texts, and from leaving chunks of two versions of one document.

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

/// How often a writer counts up its claim.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look whether other writers are still at work.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A claim that has not changed for this many looks is dead: 15 s, in which seven beats would have
/// come. Looks are counted and not time, because no claim changes while a server is down.
const DEAD_AFTER: u32 = 30;
/// After this many looks the user is told what is being waited for.
const NOTICE_AFTER: u32 = 10;
/// How often two writers that come at once give way to each other.
const MAX_TRIES: u32 = 20;
/// Time for taking back a claim at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a writer says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claim {
    /// The files that it works on.
    shard: Shard,
    /// A hash of its settings: two writers must not begin an index with different ones.
    settings: i64,
    host: String,
    process: u32,
    /// Counted up while the writer lives.
    beat: u64,
}

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        self.shard.overlaps(other.shard) || self.settings != other.settings
    }

    /// The writer, for messages.
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

/// The right to write, until it is dropped.
pub struct Lease {
    server: Arc<Server>,
    ledger: String,
    /// The name of the claim.
    name: String,
    /// Set when somebody else has removed the claim.
    lost: Arc<AtomicBool>,
    /// Dropping the sender ends the beats.
    beats: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Waits for the right to write to the files in `shard`. That another writer is certainly at work
    /// is an error. The ledger of `names` must exist.
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
        // The last beat of each claim in the way, and for how many looks it was the same.
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

    /// Fails if another writer took this one for dead.
    pub fn check(&self) -> Result<(), MilvusError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(MilvusError::Overtaken { address: self.server.address.to_string() });
        }
        Ok(())
    }
}

impl Drop for Lease {
    /// Takes back the claim if the server answers, so that others need not wait until it is dead.
    fn drop(&mut self) {
        let Some((stop, beats)) = self.beats.take() else { return };
        drop(stop);
        let filter = one_of("id", &[entry_key(CLAIM, &self.name)]);
        let gone = async {
            // A later beat would bring the claim back.
            let _ = beats.await;
            self.server.delete_once(&self.ledger, &filter).await
        };
        let _ = self.server.wait(async { tokio::time::timeout(RELEASE_TIMEOUT, gone).await });
    }
}

/// Counts up a claim until `stopped`, or until it is gone. A beat that fails is skipped.
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
            // A server that was restarted may not have loaded the ledger.
            Err(_) => {
                let request = LoadCollectionRequest::builder().collection_name(&ledger).build();
                if let Ok(request) = request {
                    let _ = client.load_collection(request).await;
                }
            }
        }
    }
}

/// Writes a claim unless it is gone; returns whether it was there.
async fn beat(client: &ClientV2, ledger: &str, name: &str, claim: &Claim) -> Answered<bool> {
    let filter = one_of("id", &[entry_key(CLAIM, name)]);
    let found = client.query(strong(ledger, &filter, &["id"])?).await?;
    if is_empty(found.results().get_output_fields()) {
        return Ok(false);
    }
    client.upsert(upsert(ledger, &entry_columns(&[claim.entry(name)]))?).await?;
    Ok(true)
}

/// A name that no other claim has, and the same as a seed.
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
    /// The claims of other writers that exclude `claim`, whose name is `name`.
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
