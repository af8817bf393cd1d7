//! FFmpeg's result codes as errors.

use ffmpeg_next::ffi;
use rustix::io::Errno;
use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::NonNull;

pub(super) const END_OF_STREAM: c_int = ffi::AVERROR_EOF;
pub(super) const TRY_AGAIN: c_int = -Errno::AGAIN.raw_os_error();
const IO: c_int = -Errno::IO.raw_os_error();
const NO_MEMORY: c_int = -Errno::NOMEM.raw_os_error();

/// Results of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in FFmpeg, or between us and it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call gave an error code.
    #[error("{operation}: {}", Code(*.code))]
    Call {
        /// What was attempted.
        operation: &'static str,
        /// FFmpeg's code, below 0.
        code: c_int,
    },
    /// FFmpeg was built without this codec.
    #[error("FFmpeg has no {0}: install a build that has it, such as Debian's")]
    NoCodec(String),
    /// This FFmpeg does not know an option that we set.
    #[error("FFmpeg does not know the option {0} of {1}")]
    UnknownOption(String, String),
    /// The render node, its driver or the GPU failed.
    #[error("{0}")]
    Device(String),
    /// A picture of a kind that is not handled.
    #[error("{0}")]
    Unsupported(String),
    /// The device reported success, and what it gave is not right.
    #[error("{1}")]
    Silent(Silence, String),
}

/// What a device gives while it reports success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Packets of 0 bytes.
    Empty,
    /// The packet before once more.
    Stale,
    /// Fewer pictures than went in.
    Missing,
    /// Pictures of another size.
    WrongSize,
}

impl Error {
    /// Whether memory ran out, which the process's own limit makes likely for hostile pictures.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Call { code: NO_MEMORY, .. })
    }

    /// Whether the kernel refused.
    pub fn is_denied(&self) -> bool {
        const DENIED: c_int = -Errno::ACCESS.raw_os_error();
        matches!(self, Self::Call { code: DENIED, .. })
    }

    /// The status that a server answered with, as far as FFmpeg tells: 400 and 500 stand for others of their kind.
    pub fn status(&self) -> Option<u16> {
        let Self::Call { code, .. } = self else { return None };
        let known = [
            (ffi::AVERROR_HTTP_UNAUTHORIZED, 401),
            (ffi::AVERROR_HTTP_FORBIDDEN, 403),
            (ffi::AVERROR_HTTP_NOT_FOUND, 404),
            (ffi::AVERROR_HTTP_BAD_REQUEST, 400),
            (ffi::AVERROR_HTTP_OTHER_4XX, 400),
            (ffi::AVERROR_HTTP_SERVER_ERROR, 500),
        ];
        known.into_iter().find(|(known, _)| known == code).map(|(_, status)| status)
    }

    /// Whether a device failed, rather than what it was given.
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Silent(..))
    }

    /// Whether a call gave `EIO`, which is FFmpeg's code for any error of a VA driver.
    pub(super) fn is_io(&self) -> bool {
        matches!(self, Self::Call { code: IO, .. })
    }

    /// The same as a failure of the device.
    pub(super) fn of_device(self) -> Self {
        match self {
            Self::Device(_) | Self::Silent(..) => self,
            other => Self::Device(other.to_string()),
        }
    }
}

struct Code(c_int);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 128];
        // SAFETY: the buffer is as long as we say; FFmpeg ends the text with a NUL even when it knows no such code.
        unsafe { ffi::av_strerror(self.0, text.as_mut_ptr().cast(), text.len()) };
        let known = CStr::from_bytes_until_nul(&text).map_or("unknown error".into(), CStr::to_string_lossy);
        f.write_str(&known)
    }
}

/// Turns a code below 0 into an error that names the operation.
pub(super) fn check(operation: &'static str, code: c_int) -> Result<c_int> {
    if code < 0 { Err(Error::Call { operation, code }) } else { Ok(code) }
}

/// Turns a failed allocation into an error that names the operation.
pub(super) fn check_pointer<T>(operation: &'static str, pointer: *mut T) -> Result<NonNull<T>> {
    NonNull::new(pointer).ok_or(Error::Call { operation, code: NO_MEMORY })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_in_words() {
        let error = check("open decoder", ffi::AVERROR_INVALIDDATA).unwrap_err();
        assert_eq!(error.to_string(), "open decoder: Invalid data found when processing input");
        assert!(!error.is_out_of_memory());
        assert!(check_pointer::<u8>("allocate", std::ptr::null_mut()).unwrap_err().is_out_of_memory());
        assert_eq!(check("fine", 7).unwrap(), 7);
    }
}
