//! Brings weights from mapped files onto a device.
//!
//! To a GPU they go through two buffers of pinned memory, which the GPU reads by itself: while it
//! reads one, the thread pool fills the other from the file. Matrices that belong together are
//! written one behind the other on the GPU, and nothing is put together on the host.

use anyhow::{Context, Result};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};

#[cfg(feature = "cuda")]
use super::staging::Staging;
use super::view::TensorView;

/// A device, and how weights get there.
pub struct Upload {
    device: Device,
    #[cfg(feature = "cuda")]
    staging: Option<Staging>,
}

impl Upload {
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "pinned memory may be short")
    )]
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            #[cfg(feature = "cuda")]
            staging: match device {
                Device::Cuda(device) => Some(Staging::new(device)?),
                _ => None,
            },
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// One matrix of `shape` from several of the same type, one above the other.
    pub fn quantized(&self, parts: &[TensorView], shape: (usize, usize)) -> Result<QTensor> {
        let dtype = parts.first().map_or(GgmlDType::F32, |part| part.dtype);
        #[cfg(feature = "cuda")]
        if let (Some(staging), Device::Cuda(device)) = (&self.staging, &self.device) {
            let storage = staging.quantized(device, parts, dtype, shape.0 * shape.1)?;
            return Ok(QTensor::new(QStorage::Cuda(storage), shape)?);
        }
        let bytes = parts.iter().map(|part| &*part.data).collect::<Vec<_>>().concat();
        Ok(QTensor::new(QStorage::from_data(bytes.into(), &self.device, dtype)?, shape)?)
    }

    /// One matrix of `shape` from several of the same type that are not quantized, one above the
    /// other, as a tensor of `dtype`.
    pub fn whole(
        &self,
        parts: &[TensorView],
        shape: (usize, usize),
        dtype: DType,
    ) -> Result<Tensor> {
        let stored = parts.first().and_then(TensorView::number).context("no numbers to load")?;
        #[cfg(feature = "cuda")]
        if let Some(staging) = &self.staging {
            return Ok(staging.tensor(&self.device, parts, shape, stored)?.to_dtype(dtype)?);
        }
        let each = parts.iter().map(|part| {
            Tensor::from_raw_buffer(&part.data, stored, &part.shape, &self.device)?.to_dtype(dtype)
        });
        let each: Vec<Tensor> = each.collect::<candle_core::Result<_>>()?;
        Ok(match each.as_slice() {
            [one] => one.reshape(shape)?,
            several => Tensor::cat(several, 0)?.reshape(shape)?,
        })
    }
}
