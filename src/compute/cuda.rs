//! Launches the kernels of `cuda/kernels.cu`, which `build.rs` compiles.

mod launch;
mod products;
mod shapes;

use candle_core::{D, DType, Result, Tensor, bail};

use self::launch::Argument::{self, Address, Float, Integer};
pub use self::launch::forget;
use self::launch::{
    Name, Recent, address, cuda_device, launch, multiprocessors, type_name, type_names,
};
pub use self::products::{Quantized, takes_quantized};
pub use self::shapes::{has_heads_of, prefills};
use super::rope::RopeLayout;

/// How a kernel leaves the rows that a product will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Values,
    /// In 8 bits, for a quantized matrix.
    Quantized,
}

/// Rows of activations, `[rows, columns]`.
pub enum Rows {
    Values(Tensor),
    Quantized(Quantized),
    /// What a GPU would have quantized, in a test of its code path on the CPU.
    #[cfg(test)]
    AsQuantized(Tensor),
}

impl Rows {
    /// The rows as they are.
    pub fn values(&self) -> Result<&Tensor> {
        match self {
            Self::Values(values) => Ok(values),
            Self::Quantized(_) => bail!("these rows are quantized"),
            #[cfg(test)]
            Self::AsQuantized(values) => Ok(values),
        }
    }

    /// Memory that a kernel will write, with the type and on the device of `like`.
    fn empty(rows: usize, columns: usize, like: &Tensor, form: Form) -> Result<Self> {
        match form {
            // SAFETY: the kernel writes all of it before anything reads it.
            Form::Values => unsafe {
                Tensor::empty((rows, columns), like.dtype(), like.device()).map(Self::Values)
            },
            Form::Quantized if like.dtype() == DType::F32 => {
                Quantized::empty(rows, columns, like.device()).map(Self::Quantized)
            }
            Form::Quantized => bail!("rows of {:?} are not quantized", like.dtype()),
        }
    }

    /// Where a kernel writes them, and the type's name in the names of kernels.
    fn output(&self) -> Result<(Argument<'static>, &'static str)> {
        match self {
            Self::Values(values) => Ok((Address(address(values)?), type_name(values.dtype())?)),
            Self::Quantized(quantized) => Ok((Address(quantized.address()?), "q8")),
            #[cfg(test)]
            Self::AsQuantized(_) => bail!("this is on the CPU"),
        }
    }
}

/// `hidden + delta`, `[rows, columns]`, and its `RMSNorm`; without `delta`, `hidden` and its norm.
pub fn add_norm(
    hidden: &Tensor,
    delta: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
    form: Form,
) -> Result<(Tensor, Rows)> {
    let (rows, columns) = hidden.dims2()?;
    let hidden = hidden.contiguous()?;
    let delta = delta.map(Tensor::contiguous).transpose()?;
    let normed = Rows::empty(rows, columns, &hidden, form)?;
    let (to, types) = normed.output()?;
    let sum = match delta {
        // SAFETY: the kernel writes all of it.
        Some(_) => unsafe { hidden.empty_like()? },
        None => hidden.clone(),
    };
    let arguments = [
        Address(address(&hidden)?),
        Address(delta.as_ref().map_or(Ok(0), address)?),
        Address(address(weight)?),
        Address(address(&sum)?),
        to,
        Integer(columns as i32),
        Float(epsilon),
    ];
    let threads = columns.next_multiple_of(32).min(1024);
    let name = Name::new("add_norm", types);
    // SAFETY: all of them are `[rows, columns]`, the weight `[columns]`, of one type. The kernel
    // leaves `sum` alone where there is no delta.
    unsafe { launch(&cuda_device(&hidden)?, name, (rows, 1), threads, &arguments)? };
    Ok((sum, normed))
}

/// `silu(first half) · second half`: `[rows, 2 · columns]` → `[rows, columns]`.
pub fn gate(both: &Tensor, form: Form) -> Result<Rows> {
    let (rows, width) = both.dims2()?;
    let (both, columns) = (both.contiguous()?, width / 2);
    let out = Rows::empty(rows, columns, &both, form)?;
    let (to, types) = out.output()?;
    let arguments = [Address(address(&both)?), to, Integer(columns as i32)];
    let (name, blocks) = (Name::new("gate", types), (columns.div_ceil(256), rows));
    // SAFETY: the shapes are as the kernel says.
    unsafe { launch(&cuda_device(&both)?, name, blocks, 256, &arguments)? };
    Ok(out)
}

/// Heads in a projection's output, `[tokens, some heads · dim]`, each row contiguous.
pub struct Projected<'a> {
    pub tensor: &'a Tensor,
    /// Where the first head begins in a row.
    pub start: usize,
}

/// Some tokens on their way into a layer's cache.
pub struct Step<'a> {
    /// Queries, keys and values as projected.
    pub qkv: [Projected<'a>; 3],
    /// Cosines and sines, `[context, dim / 2]` each.
    pub rope: (&'a Tensor, &'a Tensor, RopeLayout),
    /// Keys and values, `[1, kv_heads, context, dim]` each.
    pub caches: (&'a Tensor, &'a Tensor),
    /// Of queries.
    pub heads: usize,
    /// Of the first token.
    pub position: usize,
    /// The same where the kernels read it: one `u32` on the device.
    pub position_on_device: &'a Tensor,
}

impl Step<'_> {
    fn tokens(&self) -> Result<usize> {
        self.qkv[0].tensor.dim(0)
    }

    /// KV heads, context, and the length of a head, once they are known to fit.
    fn shape(&self) -> Result<(usize, usize, usize)> {
        let (_, kv_heads, context, dim) = self.caches.0.dims4()?;
        if self.position + self.tokens()? > context {
            bail!("the context is full");
        }
        Ok((kv_heads, context, dim))
    }

    /// The kernels' first arguments: where queries, keys and values are, how far a token's are from
    /// the next one's, and the tables.
    fn inputs(&self) -> Result<Vec<Argument<'static>>> {
        let mut arguments = Vec::with_capacity(20);
        for Projected { tensor, start } in &self.qkv {
            arguments
                .push(Address(address(tensor)? + (start * tensor.dtype().size_in_bytes()) as u64));
        }
        for Projected { tensor, .. } in &self.qkv {
            arguments.push(Integer(tensor.dim(D::Minus1)? as i32));
        }
        arguments.extend([Address(address(self.rope.0)?), Address(address(self.rope.1)?)]);
        Ok(arguments)
    }

    /// The kernels' last arguments: the context, how values are paired, and the scale of scores.
    fn constants(&self) -> Result<[Argument<'static>; 3]> {
        let (_, context, dim) = self.shape()?;
        Ok([
            Integer(context as i32),
            Integer(i32::from(self.rope.2 == RopeLayout::Interleaved)),
            Float(1.0 / (dim as f32).sqrt()),
        ])
    }

    fn types(&self) -> Result<&'static str> {
        type_names(self.qkv[0].tensor.dtype(), self.caches.0.dtype())
    }
}

/// Rotates queries and keys, and writes keys and values into the cache. Returns the queries,
/// divided by √dim, `[heads, tokens, dim]`.
pub fn rope_append(step: &Step) -> Result<Tensor> {
    let (kv_heads, _, dim) = step.shape()?;
    let (q, tokens) = (step.qkv[0].tensor, step.tokens()?);
    // SAFETY: the kernel writes all of it.
    let rotated = unsafe { Tensor::empty((step.heads, tokens, dim), q.dtype(), q.device())? };
    let mut arguments = step.inputs()?;
    arguments.extend([
        Address(address(&rotated)?),
        Address(address(step.caches.0)?),
        Address(address(step.caches.1)?),
        Address(address(step.position_on_device)?),
        Integer(step.heads as i32),
        Integer(dim as i32),
    ]);
    arguments.extend(step.constants()?);
    let name = Name::new("rope_append", step.types()?);
    let blocks = (tokens, step.heads + kv_heads);
    // SAFETY: the shapes are as the kernel says, and these positions are in the cache.
    unsafe { launch(&cuda_device(q)?, name, blocks, dim / 2, &arguments)? };
    Ok(rotated)
}

/// The most tokens that [`attend`] takes at once.
const MOST_TOKENS: usize = 8;
/// Threads in a block of `attend` and of `prefill`.
const ATTEND_THREADS: usize = 128;
/// Instances of `attend` by how many query rows a block works on at once.
const ROWS: [usize; 3] = [1, 4, 8];

/// Whether [`attend`] has a kernel for `tokens` tokens with heads of `dim` values.
pub fn attends(dim: usize, tokens: usize) -> bool {
    has_heads_of(dim) && tokens <= MOST_TOKENS
}

/// Rotates queries and keys, writes keys and values into the cache, and computes attention over it,
/// each token up to its own key: `[tokens, heads · dim]`.
pub fn attend(step: &Step, form: Form) -> Result<Rows> {
    let (kv_heads, _, dim) = step.shape()?;
    let (q, tokens) = (step.qkv[0].tensor, step.tokens()?);
    if !attends(dim, tokens) {
        bail!("there is no attention kernel for {tokens} tokens with heads of {dim} values");
    }
    let device = cuda_device(q)?;
    let group = step.heads / kv_heads;
    let rows = ROWS.into_iter().find(|&rows| rows >= group * tokens).unwrap_or(MOST_TOKENS);
    // Two blocks a multiprocessor keep enough loads under way.
    let splits = (2 * multiprocessors(&device)?).div_ceil(kv_heads);
    let parts = step.heads * tokens * splits;
    // The parts' results, and behind them a weight and a maximum of each.
    // SAFETY: `attend` writes what `combine` reads of them.
    let mixed = unsafe { Tensor::empty(parts * (dim + 2), DType::F32, q.device())? };
    let weights = address(&mixed)? + (parts * dim * size_of::<f32>()) as u64;
    let mut arguments = step.inputs()?;
    arguments.extend([
        Address(address(step.caches.0)?),
        Address(address(step.caches.1)?),
        Address(address(&mixed)?),
        Address(weights),
        Address(address(step.position_on_device)?),
        Integer(tokens as i32),
        Integer(group as i32),
    ]);
    arguments.extend(step.constants()?);
    let name = Name { kernel: "attend", types: step.types()?, dim, rows };
    // SAFETY: the shapes are as the kernel says, these positions are in the cache, and a head of
    // the cache begins at a multiple of 16 bytes, as its memory does.
    unsafe { launch(&device, name, (kv_heads, splits), ATTEND_THREADS, &arguments)? };

    let out = Rows::empty(tokens, step.heads * dim, q, form)?;
    let (to, types) = out.output()?;
    let arguments = [
        Address(address(&mixed)?),
        Address(weights),
        Address(address(step.position_on_device)?),
        to,
        Integer(group as i32),
        Integer(splits as i32),
    ];
    let (name, blocks) = (Name::new("combine", types), (step.heads, tokens));
    // SAFETY: these are the parts that `attend` wrote for the same tokens and spans.
    unsafe { launch(&device, name, blocks, dim, &arguments)? };
    Ok(out)
}

/// Query rows in a block of `prefill`.
const PREFILL_ROWS: usize = 64;

/// Attention of many tokens over the cache, each up to its own key: `[tokens, heads · dim]`. Their
/// keys and values are in the cache, and `q` is what [`rope_append`] returned for them.
pub fn prefill(step: &Step, q: &Tensor) -> Result<Tensor> {
    let (kv_heads, context, dim) = step.shape()?;
    let (tokens, group) = (step.tokens()?, step.heads / kv_heads);
    if !prefills(dim, q.dtype(), step.caches.0.dtype()) || q.dims() != [step.heads, tokens, dim] {
        bail!("there is no attention kernel for {tokens} tokens with heads of {dim} values");
    }
    // SAFETY: the kernel writes all of it.
    let out = unsafe { Tensor::empty((tokens, step.heads * dim), q.dtype(), q.device())? };
    let arguments = [
        Address(address(q)?),
        Address(address(step.caches.0)?),
        Address(address(step.caches.1)?),
        Address(address(&out)?),
        Address(address(step.position_on_device)?),
        Integer(tokens as i32),
        Integer(group as i32),
        Integer(context as i32),
    ];
    let name = Name { kernel: "prefill", types: step.types()?, dim, rows: 0 };
    let blocks = (kv_heads, (tokens * group).div_ceil(PREFILL_ROWS));
    // SAFETY: the shapes are as the kernel says, these positions are in the cache, and a head of
    // the cache begins at a multiple of 16 bytes, as its memory does.
    unsafe { launch(&cuda_device(q)?, name, blocks, ATTEND_THREADS, &arguments)? };
    Ok(out)
}

/// Lowers the logits of `recent` tokens, each once and mostly in place, by `penalty` as
/// [`SamplingOptions::repeat_penalty`] says, and returns the most likely token with its logit: the
/// first of equal ones, and −∞ if no logit is finite. `logits` is `[vocabulary]` in `f32`; only
/// eight bytes leave the GPU.
///
/// [`SamplingOptions::repeat_penalty`]: crate::SamplingOptions::repeat_penalty
pub fn choose(logits: &Tensor, recent: &[u32], penalty: f32) -> Result<(u32, f32)> {
    if recent.len() > Recent::MOST || logits.dtype() != DType::F32 || !logits.is_contiguous() {
        bail!("there is no kernel for this choice");
    }
    let mut ids = Recent { count: recent.len() as u32, ids: [0; Recent::MOST] };
    ids.ids[..recent.len()].copy_from_slice(recent);
    // The kernel reads 16 bytes at a time, and a row among others may begin between.
    let mut logits = logits.clone();
    if !address(&logits)?.is_multiple_of(16) {
        logits = logits.force_contiguous()?;
    }
    // SAFETY: the kernel writes both: the token, and the bits of its logit.
    let chosen = unsafe { Tensor::empty(2, DType::U32, logits.device())? };
    let arguments = [
        Address(address(&logits)?),
        Integer(logits.dim(0)? as i32),
        Argument::Recent(&ids),
        Float(penalty),
        Address(address(&chosen)?),
    ];
    let name = Name::new("choose", "");
    // SAFETY: the shapes are as the kernel says, and it leaves ids beyond the vocabulary alone.
    unsafe { launch(&cuda_device(&logits)?, name, (1, 1), 1024, &arguments)? };
    match chosen.to_vec1::<u32>()?[..] {
        [id, logit] => Ok((id, f32::from_bits(logit))),
        _ => bail!("a choice has two parts"),
    }
}
