//! What the project's own tests, benches and tools reach into, arranged as the rooms are. It is no part
//! of the public interface, and changes without notice.

#![allow(missing_docs, reason = "documented where it is defined")]

pub mod answer {
    pub use crate::answer::{Event, Judge, RewriteTemplate};

    pub mod conversation {
        pub use crate::answer::conversation::{Dialogue, Rewriter, RewrittenQuery, is_follow_up};
    }
}

pub mod chunks {
    pub use crate::chunks::{Chunk, ChunkSettings, chunk};
}

pub mod compute {
    pub use crate::compute::SimdLevel;

    pub mod pool {
        pub use crate::compute::pool::{parallel_for, threads};
    }
}

pub mod documents {
    pub use crate::documents::{Document, Filter, Markup, Place, Programs, ReadError, read, walk};
}

pub mod embedding {
    pub use crate::embedding::{Embedder, Embedding, Tokens, normalize};

    pub mod codes {
        pub use crate::embedding::codes::{Book, Coder, TokenCodes};
    }

    pub mod encoder {
        pub use crate::embedding::encoder::{
            Encoder, EncoderCheckpoint, EncoderConfig, Sequence, TextTokenizer, batches,
        };
    }
}

pub mod generation {
    pub use crate::generation::Generator;

    pub mod local {
        pub use crate::generation::local::{
            Generation, Llm, LlmFiles, SamplingOptions, Stop, rounded_logits,
        };

        pub mod placement {
            pub use crate::generation::local::placement::DeviceChoice;

            pub mod gpu {
                pub use crate::generation::local::placement::gpu::{GpuError, choose, driver};
            }
        }

        pub mod tokenizer {
            pub use crate::generation::local::tokenizer::Piece;
        }
    }

    pub mod remote {
        pub use crate::generation::remote::{Endpoint, Key, Pool, estimate};
    }
}

pub mod index {
    pub use crate::index::{
        ChunkId, DirectoryIndex, DirectoryWriter, DocumentState, EmbedderIdentity, FileState,
        Index, IndexError, IndexWriter, Location, MilvusError, Notify, Passage, Searched, Settings,
        Shard, Start, StoredChunk, verify,
    };

    pub mod directory {
        pub use crate::index::directory::verify;
    }

    pub mod update {
        pub use crate::index::update::{Indexer, copy, preview};
    }
}

pub mod measure {
    pub use crate::measure::{ATTEMPTS, generate, longest, median, median_seconds, prompt};

    pub mod peak {
        pub use crate::measure::peak::operations;
    }
}

pub mod models {
    pub use crate::models::{
        Catalogue, Download, DownloadProgress, HubSettings, ModelEntry, ModelError, ModelFiles,
        ModelStore,
    };

    pub mod catalogue {
        pub use crate::models::catalogue::{EmbedderSpec, Pooling, Precision};
    }

    pub mod verify {
        pub use crate::models::verify::{Outcome, verify};
    }
}

pub mod profile {
    pub use crate::profile::{Models, Overrides};
}

pub mod prompt {
    pub use crate::prompt::Messages;
}

pub mod retrieval {
    pub mod rerank {
        pub use crate::retrieval::rerank::CrossEncoder;
    }
}

pub mod support {
    pub mod random {
        pub use crate::support::random::SplitMix64;
    }

    pub mod tls {
        pub use crate::support::tls::roots;
    }
}

pub mod text {
    pub mod analyze {
        pub use crate::text::analyze::ANALYZER;
    }
}
