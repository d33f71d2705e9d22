//! What the gate of a feed-forward block goes through before it is multiplied (GLU variants, Shazeer
//! 2020).

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e⁻ˣ)`
    Silu,
    /// GELU in its tanh form (Hendrycks and Gimpel 2016).
    #[allow(dead_code, reason = "Gemma's, which the program does not offer yet")]
    Gelu,
}
