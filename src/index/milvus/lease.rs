//! Who is writing: two writers that may change the same documents do not work at once.
//!
//! Milvus has no locks. A writer puts a claim into the ledger, and then looks for those of others:
//! of two that come at once, whoever looks last sees the other. As long as it works, it counts its
//! claim up. A claim that stays as it is for 15 seconds, by the clock of who waits, is of a writer
//! that was killed, and is removed.
//!
//! What keeps an index whole is that chunks have keys (see the writer), also where a machine was
//! suspended for longer and finds its claim gone; the lease keeps two writers from embedding the
//! same, and from leaving chunks of two versions of one document.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use milvus::v2::ClientV2;
use milvus::v2::error::Result as Answered;
use milvus::v2::request::collection::LoadCollectionRequest;
use milvus::v2::types::FieldData;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::schema::{CLAIM, Entry, Names, entry_columns, entry_key, key, one_of, strong, upsert};
use super::server::Server;
use crate::index::{IndexError, Notice, Settings, Shard};
use crate::support::random::SplitMix64;

/// How often a writer counts its claim up.
const BEAT: Duration = Duration::from_secs(2);
/// How often it is looked whether others still are at work.
const LOOK: Duration = Duration::from_millis(500);
/// After how many looks without a change a claim means nothing: some beats may be late. Looks, and
/// not time: while a server is gone, nobody's claim changes.
const SILENT: u32 = 30;
/// After how many the user is told what is waited for.
const TOLD: u32 = 10;
/// How often two that come at once let each other pass.
const TRIES: u32 = 20;
/// Time to say good-bye.
const RELEASE: Duration = Duration::from_secs(2);

/// What a writer says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claim {
    /// What it works on.
    shard: Shard,
    /// A hash of its settings: no two writers begin an index with different ones.
    settings: i64,
    host: String,
    process: u32,
    /// Counted up while it lives.
    beat: u64,
}

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        self.shard.overlaps(other.shard) || self.settings != other.settings
    }

    /// For messages.
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
    /// The claim's name.
    name: String,
    /// Whether the claim was removed by somebody else.
    lost: Arc<AtomicBool>,
    /// Ends the beats when it is dropped.
    beats: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Waits for the right to write to the files in `shard`, until it is sure that another is at
    /// work, which is an error. The ledger of `names` is there.
    pub fn take(
        server: &Arc<Server>,
        names: &Names,
        shard: Shard,
        settings: &Settings,
    ) -> Result<Self, IndexError> {
        let settings = serde_json::to_vec(settings).expect("settings are plain data");
        let host = hostname::get().map_or_else(|_| "?".into(), |host| host.display().to_string());
        let process = std::process::id();
        let mut claim = Claim { shard, settings: key(&[&settings]), host, process, beat: 0 };
        let (name, seed) = unique(&claim);
        let mut random = SplitMix64::new(seed);
        let busy = |other: &Claim| IndexError::Busy {
            address: server.address.to_string(),
            writer: other.writer(),
        };
        // The beat of each claim in the way, and how often it was the same.
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
                if tries == TRIES {
                    return Err(busy(other));
                }
                sleep(LOOK.mul_f64(random.next()));
            }
            watched.retain(|name, _| others.iter().any(|(other, _)| other == name));
            for (name, other) in &others {
                let (beat, looks) = watched.entry(name.clone()).or_insert((other.beat, 0));
                if *beat != other.beat {
                    return Err(busy(other));
                }
                *looks += 1;
                if *looks == TOLD {
                    let address = server.address.to_string();
                    server.tell(&Notice::Waiting { address, writer: other.writer() });
                }
                if *looks >= SILENT {
                    server.delete_claim(names, name)?;
                }
            }
            sleep(LOOK);
        }
    }

    fn begin(server: &Arc<Server>, names: &Names, name: String, claim: Claim) -> Self {
        let (ledger, lost) = (names.ledger(), Arc::new(AtomicBool::new(false)));
        let (stop, stopped) = oneshot::channel();
        let beats = {
            let (ledger, name, lost) = (ledger.clone(), name.clone(), lost.clone());
            server.spawn(|client| beats(client, ledger, name, claim, lost, stopped))
        };
        Self { server: server.clone(), ledger, name, lost, beats: Some((stop, beats)) }
    }

    /// Fails if another took this writer for dead.
    pub fn check(&self) -> Result<(), IndexError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(IndexError::Overtaken { address: self.server.address.to_string() });
        }
        Ok(())
    }
}

impl Drop for Lease {
    /// Takes the claim back, if the server lets it: others need not wait until it is old.
    fn drop(&mut self) {
        let Some((stop, beats)) = self.beats.take() else { return };
        drop(stop);
        let filter = one_of("id", &[entry_key(CLAIM, &self.name)]);
        let gone = async {
            // A beat after that would bring the claim back.
            let _ = beats.await;
            self.server.delete_once(&self.ledger, &filter).await
        };
        let _ = self.server.wait(async { tokio::time::timeout(RELEASE, gone).await });
    }
}

/// Counts a claim up until `stopped`, or until it is gone. A beat that fails is left out.
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
            () = tokio::time::sleep(BEAT) => {}
        }
        claim.beat += 1;
        match beat(&client, &ledger, &name, &claim).await {
            Ok(true) => {}
            Ok(false) => {
                lost.store(true, Ordering::SeqCst);
                return;
            }
            // A server that was started anew may have put the ledger aside.
            Err(_) => {
                let request = LoadCollectionRequest::builder().collection_name(&ledger).build();
                if let Ok(request) = request {
                    let _ = client.load_collection(request).await;
                }
            }
        }
    }
}

/// Writes a claim, unless it is gone; whether it was there.
async fn beat(client: &ClientV2, ledger: &str, name: &str, claim: &Claim) -> Answered<bool> {
    let filter = one_of("id", &[entry_key(CLAIM, name)]);
    let found = client.query(strong(ledger, &filter, &["id"])?).await?;
    if found.results().get_output_fields().iter().all(FieldData::is_empty) {
        return Ok(false);
    }
    client.upsert(upsert(ledger, &entry_columns(&[claim.entry(name)]))?).await?;
    Ok(true)
}

/// A name that no other claim has, and random bits.
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
    /// The claims of others that exclude `claim`, which is called `name`.
    fn claims_against(
        &self,
        names: &Names,
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

    fn delete_claim(&self, names: &Names, name: &str) -> Result<(), IndexError> {
        self.delete(&names.ledger(), &[entry_key(CLAIM, name)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_exclude_each_other_unless_parts_and_settings_let_them_work_together() {
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
