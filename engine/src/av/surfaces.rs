//! Pictures into a GPU's surfaces.

use camshaft::media::Geometry;
use ffmpeg_next::ffi::{self, AVPixelFormat};
use std::ffi::c_int;

use super::buffer::Buffer;
use super::device::Device;
use super::error::{Error, Result, check};
use super::frame::{Frame, write_enum};

/// NV12 surfaces of one size, to be filled from memory.
pub struct SurfacePool {
    buffer: Buffer,
    size: Geometry,
}

impl SurfacePool {
    /// A pool of `count` surfaces of `size`.
    pub fn new(device: &Device, size: Geometry, count: u8) -> Result<Self> {
        // SAFETY: the reference is to a device; null means that memory ran out.
        let raw = unsafe { ffi::av_hwframe_ctx_alloc(device.buffer().as_ptr()) };
        let buffer = Buffer::own("allocate surfaces", raw)?;
        // SAFETY: what a new reference of this kind refers to is an AVHWFramesContext that nobody else knows.
        let settings = unsafe { &mut *(*buffer.as_ptr()).data.cast::<ffi::AVHWFramesContext>() };
        write_enum((&raw mut settings.format).cast(), AVPixelFormat::AV_PIX_FMT_VAAPI as c_int);
        write_enum((&raw mut settings.sw_format).cast(), AVPixelFormat::AV_PIX_FMT_NV12 as c_int);
        (settings.width, settings.height) = (size.width as c_int, size.height as c_int);
        settings.initial_pool_size = count.into();
        // SAFETY: the context has its format and size and is not initialised.
        let code = unsafe { ffi::av_hwframe_ctx_init(buffer.as_ptr()) };
        check("allocate surfaces", code).map_err(Error::of_device)?;
        Ok(Self { buffer, size })
    }

    /// A surface that holds the picture of `frame`, NV12 of the pool's size.
    pub fn upload(&self, frame: &Frame) -> Result<Frame> {
        if frame.size() != self.size {
            return Err(Error::Unsupported(format!("a picture of {} for surfaces of {}", frame.size(), self.size)));
        }
        let mut surface = Frame::empty()?;
        // SAFETY: the pool is initialised and the frame empty.
        let code = unsafe { ffi::av_hwframe_get_buffer(self.buffer.as_ptr(), surface.as_mut_ptr(), 0) };
        check("take a surface", code).map_err(Error::of_device)?;
        // SAFETY: the surface is new, the frame is a picture in memory; FFmpeg checks that their formats agree.
        let code = unsafe { ffi::av_hwframe_transfer_data(surface.as_mut_ptr(), frame.as_ptr(), 0) };
        check("write a surface", code).map_err(Error::of_device)?;
        surface.copy_color(frame);
        Ok(surface)
    }
}
