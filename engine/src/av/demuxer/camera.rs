//! A camera that libavformat speaks RTSP with (RFC 2326), at the end of a tunnel on this machine. Its other protocols stay
//! shut, and where the camera redirects to is not gone to.

use camshaft::media::Transport;
use ffmpeg_next::ffi;
use std::ffi::{CStr, CString, c_int, c_void};
use std::fmt::Write;
use std::ptr::NonNull;

use super::{Demuxer, Opened, Shared};
use crate::av::codec::Dictionary;
use crate::av::error::{Error, Result, check, check_pointer};
use crate::av::packet::Packet;

/// What libavformat keeps of `user:password`; it cuts off the rest in silence.
const LONGEST_LOGIN: usize = 127;

/// Where a camera is, and who asks.
#[derive(Clone, Copy)]
pub struct CameraAddress<'a> {
    /// The tunnel's port on 127.0.0.1.
    pub port: u16,
    /// The URL's path and query.
    pub target: &'a str,
    /// User name and password.
    pub login: Option<(&'a str, &'a str)>,
    /// How RTP travels.
    pub transport: Transport,
}

/// Asked by libavformat, while it waits, whether to go on.
pub trait Watch {
    /// Whether waiting is over.
    fn is_over(&mut self) -> bool;
    /// The camera said that it is elsewhere; waiting is over.
    fn redirected(&mut self);
}

/// What libavformat's question takes.
pub(super) struct Watched<R> {
    reader: NonNull<R>,
    context: *const ffi::AVFormatContext,
    url: CString,
}

impl<R: Watch> Demuxer<R> {
    /// Opens a session with the camera and has it play.
    ///
    /// # Errors
    /// If the camera refuses or makes no sense, or the reader says that waiting is over; it knows why, and comes back.
    pub fn open_camera(camera: CameraAddress, reader: R) -> std::result::Result<Self, (Error, R)> {
        let packet = match Packet::empty() {
            Ok(packet) => packet,
            Err(error) => return Err((error, reader)),
        };
        let opened = Opened { context: std::ptr::null_mut(), io: std::ptr::null_mut() };
        let mut demuxer = Self { opened, reader: Shared::new(reader), packet, watched: None };
        match demuxer.play(camera) {
            Ok(()) => Ok(demuxer),
            Err(error) => Err((error, demuxer.into_reader())),
        }
    }

    fn play(&mut self, camera: CameraAddress) -> Result<()> {
        let url = url(camera)?;
        // SAFETY: a C string; the result is null or static.
        let format = unsafe { ffi::av_find_input_format(c"rtsp".as_ptr()) };
        if format.is_null() {
            return Err(Error::NoCodec("demuxer of RTSP".to_owned()));
        }
        // SAFETY: no preconditions; null means that memory ran out.
        let context = check_pointer("allocate demuxer", unsafe { ffi::avformat_alloc_context() })?;
        self.opened.context = context.as_ptr();
        let watched = Watched { reader: self.reader.0, context: self.opened.context, url: url.clone() };
        let watched = &*self.watched.insert(Shared::new(watched));
        // SAFETY: new, and nobody else's.
        let fields = unsafe { &mut *self.opened.context };
        fields.interrupt_callback.callback = Some(is_over::<R>);
        fields.interrupt_callback.opaque = watched.0.as_ptr().cast();
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "tcp,udp,rtp")?;
        options.set("allowed_media_types", "video+audio")?;
        options.set("user_agent", concat!("camshaft/", env!("CARGO_PKG_VERSION")))?;
        let transport = match camera.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Multicast => "udp_multicast",
        };
        options.set("rtsp_transport", transport)?;
        // SAFETY: context, URL, format and options are valid; on failure FFmpeg frees the context and clears the pointer.
        check("open RTSP session", unsafe {
            ffi::avformat_open_input(&mut self.opened.context, url.as_ptr(), format, options.as_mut_ptr())
        })?;
        Ok(())
    }
}

/// libavformat knows no other place for a login than the URL, which is neither logged nor shown.
fn url(camera: CameraAddress) -> Result<CString> {
    let login = |(username, password)| format!("{}:{}@", escape(username), escape(password));
    let login = camera.login.map_or_else(String::new, login);
    if login.len() > LONGEST_LOGIN {
        let message = format!(
            "user name and password, percent-encoded, have {} bytes; ingest: libav takes {}",
            login.len() - 2,
            LONGEST_LOGIN - 2
        );
        return Err(Error::Unsupported(message));
    }
    let url = format!("rtsp://{login}127.0.0.1:{}{}", camera.port, camera.target);
    CString::new(url).map_err(|_| Error::Unsupported("the camera's URL has a zero byte".into()))
}

/// Percent-encodes all but letters and digits (RFC 3986 §2.1).
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// libavformat's question; anything but 0 ends its waiting.
unsafe extern "C" fn is_over<R: Watch>(watched: *mut c_void) -> c_int {
    // SAFETY: the pointer that the context was made with; it outlives the context.
    let Some(watched) = (unsafe { watched.cast::<Watched<R>>().as_mut() }) else { return 1 };
    // SAFETY: the demuxer's own, which nobody else uses during FFmpeg's calls.
    let reader = unsafe { watched.reader.as_mut() };
    // SAFETY: the context asks, so it is there; FFmpeg changes it in this thread only.
    let url = unsafe { (*watched.context).url };
    if url.is_null() {
        return reader.is_over().into();
    }
    // SAFETY: FFmpeg keeps a C string there.
    if unsafe { CStr::from_ptr(url) } != watched.url.as_c_str() {
        reader.redirected();
        return 1;
    }
    reader.is_over().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_stands_in_the_url_and_nowhere_else() {
        let asked = |password: &str| {
            let login = Some(("viewer", password));
            url(CameraAddress { port: 4711, target: "/live?channel=1", login, transport: Transport::Tcp })
        };
        let right = asked("p@ss:wörd/").unwrap();
        assert_eq!(right.to_str().unwrap(), "rtsp://viewer:p%40ss%3Aw%C3%B6rd%2F@127.0.0.1:4711/live?channel=1");
        assert!(asked(&"x".repeat(200)).unwrap_err().to_string().contains("takes 125"));
    }
}
