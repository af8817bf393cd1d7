//! Contexts: where pictures are decoded, encoded or processed, one after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::{Buffer, Submitted, parameters};
use crate::control::{Action, Call, Counter};
use crate::decode::PictureDecoder;
use crate::driver::Driver;
use crate::encode::{Coded, H264Encoder, encode_jpeg};
use crate::profiles::Config;
use crate::surface::Surface;
use crate::va::*;
use crate::vpp::{Pipeline, Processor};

/// A context.
#[derive(Debug)]
pub(crate) struct Context {
    /// The vaEndPicture of its kind.
    pub(crate) end_call: Call,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    /// Between vaBeginPicture and vaEndPicture.
    target: Option<Arc<Surface>>,
    submitted: Vec<Submitted>,
    /// What the last picture became, for faults that repeat it.
    previous: Option<Arc<Surface>>,
    previous_coded: Vec<u8>,
}

/// What makes the pictures.
#[derive(Debug)]
enum Engine {
    Decode(PictureDecoder),
    EncodeH264(Box<H264Encoder>),
    EncodeJpeg,
    Process(Processor),
}

impl Context {
    /// A context for pictures of `width` × `height`.
    ///
    /// # Errors
    /// [`Status::RESOLUTION_NOT_SUPPORTED`] if they are too large; those of opening the decoder.
    pub(crate) fn new(config: &Config, width: u32, height: u32) -> Result<Self> {
        let capability = &config.capability;
        if width > capability.largest || height > capability.largest {
            return Err(Status::RESOLUTION_NOT_SUPPORTED);
        }
        #[allow(non_upper_case_globals)] // libva's names
        let (engine, end_call) = match capability.entrypoint {
            VAEntrypointVLD => (Engine::Decode(PictureDecoder::new(capability.profile)?), Call::EndDecode),
            VAEntrypointEncPicture => (Engine::EncodeJpeg, Call::EndEncode),
            VAEntrypointVideoProc => (Engine::Process(Processor::new()), Call::EndProcess),
            _ => (Engine::EncodeH264(Box::new(H264Encoder::new(config.rate_control))), Call::EndEncode),
        };
        let state = State { engine, target: None, submitted: Vec::new(), previous: None, previous_coded: Vec::new() };
        Ok(Self { end_call, state: Mutex::new(state) })
    }

    /// vaBeginPicture.
    pub(crate) fn begin(&self, target: Arc<Surface>) {
        let mut state = self.lock();
        state.target = Some(target);
        state.submitted.clear();
    }

    /// vaRenderPicture.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] outside a picture.
    pub(crate) fn render(&self, buffers: impl Iterator<Item = Submitted>) -> Result<()> {
        let mut state = self.lock();
        if state.target.is_none() {
            return Err(Status::OPERATION_FAILED);
        }
        state.submitted.extend(buffers);
        Ok(())
    }

    /// vaEndPicture. All work is done here; the client learns of failures when it synchronizes, as with a device.
    ///
    /// # Errors
    /// [`Status::OPERATION_FAILED`] outside a picture; those of buffers that make no sense.
    pub(crate) fn end(&self, driver: &Driver, fault: Option<Action>) -> Result<()> {
        let mut state = self.lock();
        let target = state.target.take().ok_or(Status::OPERATION_FAILED)?;
        let submitted = std::mem::take(&mut state.submitted);
        match &mut state.engine {
            Engine::Decode(decoder) => {
                decoder.decode(&submitted, &target)?;
                let counter = decoder.counter();
                state.shown(driver, counter, target, fault);
            }
            Engine::Process(processor) => {
                let parameters = parameters(&submitted, VAProcPipelineParameterBufferType)?;
                let pipeline = Pipeline::of(&parameters);
                let source = driver.get::<Surface>(pipeline.source)?;
                processor.process(&pipeline, &source, &target)?;
                state.shown(driver, Counter::Scaled, target, fault);
            }
            Engine::EncodeH264(encoder) => {
                let coded = encoder.encode(&submitted, &target)?;
                state.coded(driver, Counter::H264Encoded, &target, coded, fault)?;
            }
            Engine::EncodeJpeg => {
                let coded = encode_jpeg(&submitted, &target)?;
                state.coded(driver, Counter::JpegEncoded, &target, coded, fault)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A picture is in its surface.
    fn shown(&mut self, driver: &Driver, counter: Counter, target: Arc<Surface>, fault: Option<Action>) {
        match fault {
            Some(Action::StatusAtSync(status)) => target.finish(Status::from_raw(status)),
            Some(Action::ZeroPicture) => {
                let _guard = target.write();
                target.memory.clear();
            }
            Some(Action::WrongPicture) => {
                let _guard = target.write();
                let wrong: Vec<u8> =
                    target.memory.copy_out(target.memory.size()).into_iter().map(|byte| !byte).collect();
                target.memory.copy_in(&wrong);
            }
            Some(Action::FrozenPicture) => {
                if let Some(previous) = &self.previous
                    && let Ok(_guards) = Surface::read_and_write(previous, &target)
                {
                    target.memory.copy_all(&previous.memory);
                }
            }
            _ => {}
        }
        self.previous = Some(target);
        driver.page.count(counter);
    }

    /// A picture is coded and goes into its buffer.
    fn coded(
        &mut self,
        driver: &Driver,
        counter: Counter,
        input: &Surface,
        mut coded: Coded,
        fault: Option<Action>,
    ) -> Result<()> {
        let buffer = driver.get::<Buffer>(coded.buffer)?;
        if buffer.kind != VAEncCodedBufferType {
            return Err(Status::INVALID_BUFFER);
        }
        let good = coded.bytes.clone();
        let mut failure = None;
        match fault {
            Some(Action::StatusAtSync(status)) => failure = Status::from_raw(status),
            Some(Action::EmptyCoded) => coded.bytes.clear(),
            Some(Action::StaleCoded) => coded.bytes.clone_from(&self.previous_coded),
            Some(Action::CorruptCoded) => {
                let middle = coded.bytes.len() / 2;
                coded.bytes[middle..].iter_mut().take(64).for_each(|byte| *byte ^= 0x5a);
            }
            Some(Action::CodedStatus(bits)) => coded.status |= bits,
            _ => {}
        }
        input.finish(failure);
        buffer.finish(failure);
        if buffer.set_coded(&coded.bytes, coded.status).is_err() {
            buffer.set_coded(&[], coded.status | VA_CODED_BUF_STATUS_SLICE_OVERFLOW_MASK)?;
        }
        self.previous_coded = good;
        driver.page.count(counter);
        Ok(())
    }
}
