//! The driver as libva calls it, in this very process: handles, threads, faults. Whole streams are in `tests/driver/`.

use std::collections::HashSet;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;
use std::result::Result;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::control::{Action, Call, ControlFile, Counter, Fault, Object, Times};
use crate::driver::{catch, status};
use crate::va::*;
use crate::{make, open};

const OK: VAStatus = VA_STATUS_SUCCESS.cast_signed();

/// An open driver. libva's callers may call from any thread, and so do these tests.
struct Session {
    context: Box<VADriverContext>,
    table: Box<VADriverVTable>,
    _processing: Box<VADriverVTableVPP>,
}

// SAFETY: the driver promises that all its calls may come from any thread.
unsafe impl Sync for Session {}

/// A structure of C of which all zero is a value.
fn zeroed<T>() -> Box<T> {
    // SAFETY: only used for libva's tables and contexts: pointers, optional functions and integers.
    Box::new(unsafe { std::mem::zeroed() })
}

impl Session {
    fn new(setting: &str) -> Self {
        let mut context: Box<VADriverContext> = zeroed();
        let mut table: Box<VADriverVTable> = zeroed();
        let mut processing: Box<VADriverVTableVPP> = zeroed();
        context.vtable = &raw mut *table;
        context.vtable_vpp = &raw mut *processing;
        open(&mut context, make(setting).unwrap()).unwrap();
        Self { context, table, _processing: processing }
    }

    fn with_control(personality: &str, directory: &Path) -> (Self, ControlFile) {
        let control = ControlFile::create(&directory.join("control")).unwrap();
        (Self::new(&format!("{personality}:{}", control.path().display())), control)
    }

    fn context(&self) -> VADriverContextP {
        (&raw const *self.context).cast_mut()
    }

    fn create_surface(&self, fourcc: u32, width: u32, height: u32) -> Result<VASurfaceID, VAStatus> {
        let mut format = VASurfaceAttrib {
            type_: VASurfaceAttribPixelFormat,
            flags: VA_SURFACE_ATTRIB_SETTABLE,
            value: VAGenericValue {
                type_: VAGenericValueTypeInteger,
                value: _VAGenericValue__bindgen_ty_1 { i: fourcc.cast_signed() },
            },
        };
        let mut surface = VA_INVALID_ID;
        let create = self.table.vaCreateSurfaces2.unwrap();
        // SAFETY: room for one surface, and one attribute.
        let created = unsafe { create(self.context(), 0, width, height, &raw mut surface, 1, &raw mut format, 1) };
        if created == OK { Ok(surface) } else { Err(created) }
    }

    fn destroy_surface(&self, mut surface: VASurfaceID) -> VAStatus {
        // SAFETY: one number.
        unsafe { self.table.vaDestroySurfaces.unwrap()(self.context(), &raw mut surface, 1) }
    }

    fn create_buffer(&self, kind: VABufferType, data: &[u8]) -> VABufferID {
        let mut buffer = VA_INVALID_ID;
        let place = data.as_ptr().cast_mut().cast::<c_void>();
        let create = self.table.vaCreateBuffer.unwrap();
        // SAFETY: data of that size, and room for a number.
        let created = unsafe { create(self.context(), 0, kind, data.len() as u32, 1, place, &raw mut buffer) };
        assert_eq!(created, OK);
        buffer
    }

    fn map(&self, buffer: VABufferID) -> *mut u8 {
        let mut place: *mut c_void = ptr::null_mut();
        // SAFETY: room for a pointer.
        assert_eq!(unsafe { self.table.vaMapBuffer.unwrap()(self.context(), buffer, &raw mut place) }, OK);
        place.cast()
    }

    fn unmap(&self, buffer: VABufferID) -> VAStatus {
        // SAFETY: no pointers.
        unsafe { self.table.vaUnmapBuffer.unwrap()(self.context(), buffer) }
    }

    fn destroy_buffer(&self, buffer: VABufferID) -> VAStatus {
        // SAFETY: no pointers.
        unsafe { self.table.vaDestroyBuffer.unwrap()(self.context(), buffer) }
    }

    fn derive_image(&self, surface: VASurfaceID) -> VAImage {
        let mut image: Box<VAImage> = zeroed();
        // SAFETY: room for an image.
        assert_eq!(unsafe { self.table.vaDeriveImage.unwrap()(self.context(), surface, &raw mut *image) }, OK);
        *image
    }

    fn destroy_image(&self, image: VAImageID) -> VAStatus {
        // SAFETY: no pointers.
        unsafe { self.table.vaDestroyImage.unwrap()(self.context(), image) }
    }

    fn sync(&self, surface: VASurfaceID) -> VAStatus {
        // SAFETY: no pointers.
        unsafe { self.table.vaSyncSurface.unwrap()(self.context(), surface) }
    }

    fn create_config(&self, profile: VAProfile, entrypoint: VAEntrypoint) -> Result<VAConfigID, VAStatus> {
        let mut config = VA_INVALID_ID;
        let create = self.table.vaCreateConfig.unwrap();
        // SAFETY: no attributes, and room for a number.
        let created = unsafe { create(self.context(), profile, entrypoint, ptr::null_mut(), 0, &raw mut config) };
        if created == OK { Ok(config) } else { Err(created) }
    }

    fn create_context(&self, config: VAConfigID, width: i32, height: i32) -> Result<VAContextID, VAStatus> {
        let mut id = VA_INVALID_ID;
        let create = self.table.vaCreateContext.unwrap();
        // SAFETY: no surfaces, and room for a number.
        let created = unsafe { create(self.context(), config, width, height, 0, ptr::null_mut(), 0, &raw mut id) };
        if created == OK { Ok(id) } else { Err(created) }
    }

    /// Scales `source` to `target` and gives what vaEndPicture returned.
    fn scale(&self, id: VAContextID, source: VASurfaceID, target: VASurfaceID) -> VAStatus {
        let mut pipeline: Box<VAProcPipelineParameterBuffer> = zeroed();
        pipeline.surface = source;
        let size = size_of::<VAProcPipelineParameterBuffer>();
        // SAFETY: all bytes of the structure are set.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const *pipeline).cast::<u8>(), size) };
        let mut buffer = self.create_buffer(VAProcPipelineParameterBufferType, bytes);
        // SAFETY: no pointers.
        assert_eq!(unsafe { self.table.vaBeginPicture.unwrap()(self.context(), id, target) }, OK);
        let render = self.table.vaRenderPicture.unwrap();
        // SAFETY: one number.
        assert_eq!(unsafe { render(self.context(), id, &raw mut buffer, 1) }, OK);
        // SAFETY: no pointers.
        let ended = unsafe { self.table.vaEndPicture.unwrap()(self.context(), id) };
        assert_eq!(self.destroy_buffer(buffer), OK);
        ended
    }

    fn terminate(mut self) {
        // SAFETY: the driver's own context, not used again.
        assert_eq!(unsafe { self.table.vaTerminate.unwrap()(&raw mut *self.context) }, OK);
        assert!(self.context.pDriverData.is_null());
    }
}

fn raw(status: u32) -> VAStatus {
    status.cast_signed()
}

#[test]
fn threads_get_objects_of_their_own() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let (session, control) = Session::with_control("alderlake", directory.path());
    let seen = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (session, seen) = (&session, &seen);
            scope.spawn(move || {
                let mark = number as u8 + 1;
                for _ in 0..ROUNDS {
                    let surface = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
                    assert!(seen.lock().unwrap().insert(surface), "{surface:#x} was given out twice");
                    let buffer = session.create_buffer(VASliceDataBufferType, &[mark; 100]);
                    let image = session.derive_image(surface);
                    let pixels = session.map(image.buf);
                    // SAFETY: the surface is larger.
                    unsafe { pixels.write_bytes(mark, 64) };
                    let data = session.map(buffer);
                    // SAFETY: mapped.
                    assert_eq!(unsafe { pixels.read() }, mark);
                    // SAFETY: mapped.
                    assert_eq!(unsafe { data.read() }, mark);
                    assert_eq!(session.unmap(image.buf), OK);
                    assert_eq!(session.destroy_image(image.image_id), OK);
                    assert_eq!(session.destroy_buffer(buffer), OK);
                    assert_eq!(session.destroy_surface(surface), OK);
                }
            });
        }
    });
    assert_eq!(control.calls(Call::CreateSurfaces).unwrap(), (THREADS * ROUNDS) as u64);
    session.terminate();
    for object in Object::ALL {
        assert_eq!(control.leaked(object).unwrap(), 0, "{object:?}");
    }
}

#[test]
fn opposite_scalings_in_two_threads_do_not_lock_each_other_out() {
    let session = Session::new("haswell");
    let config = session.create_config(VAProfileNone, VAEntrypointVideoProc).unwrap();
    let small = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    let large = session.create_surface(VA_FOURCC_NV12, 128, 128).unwrap();
    thread::scope(|scope| {
        for (source, target) in [(small, large), (large, small)] {
            let session = &session;
            scope.spawn(move || {
                let id = session.create_context(config, 128, 128).unwrap();
                for _ in 0..300 {
                    assert_eq!(session.scale(id, source, target), OK);
                }
            });
        }
    });
    let id = session.create_context(config, 128, 128).unwrap();
    assert_eq!(session.scale(id, small, small), raw(VA_STATUS_ERROR_INVALID_SURFACE));
    session.terminate();
}

#[test]
fn numbers_that_stand_for_nothing_are_refused() {
    let session = Session::new("haswell");
    let surface = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    for wrong in [0, VA_INVALID_ID, surface + 1] {
        assert_eq!(session.sync(wrong), raw(VA_STATUS_ERROR_INVALID_SURFACE), "{wrong:#x}");
        assert_eq!(session.destroy_surface(wrong), raw(VA_STATUS_ERROR_INVALID_SURFACE));
        assert_eq!(session.destroy_buffer(wrong), raw(VA_STATUS_ERROR_INVALID_BUFFER));
        assert_eq!(session.destroy_image(wrong), raw(VA_STATUS_ERROR_INVALID_IMAGE));
        assert_eq!(session.create_context(wrong, 64, 64), Err(raw(VA_STATUS_ERROR_INVALID_CONFIG)));
    }
    assert_eq!(session.destroy_buffer(surface), raw(VA_STATUS_ERROR_INVALID_BUFFER), "a surface is no buffer");
    assert_eq!(session.destroy_surface(surface), OK);
    assert_eq!(session.destroy_surface(surface), raw(VA_STATUS_ERROR_INVALID_SURFACE), "destroyed twice");
    session.terminate();
}

#[test]
fn a_buffer_is_unmapped_as_often_as_it_was_mapped() {
    let session = Session::new("haswell");
    let buffer = session.create_buffer(VASliceDataBufferType, &[1, 2, 3]);
    assert_eq!(session.unmap(buffer), raw(VA_STATUS_ERROR_OPERATION_FAILED));
    session.map(buffer);
    assert_eq!(session.unmap(buffer), OK);
    assert_eq!(session.unmap(buffer), raw(VA_STATUS_ERROR_OPERATION_FAILED));
    session.terminate();
}

#[test]
fn sizes_have_limits() {
    let session = Session::new("haswell");
    assert_eq!(session.create_surface(VA_FOURCC_NV12, 0, 64), Err(raw(VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED)));
    assert_eq!(session.create_surface(VA_FOURCC_NV12, 64, 70_000), Err(raw(VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED)));
    let config = session.create_config(VAProfileH264High, VAEntrypointVLD).unwrap();
    assert_eq!(session.create_context(config, 5000, 5000), Err(raw(VA_STATUS_ERROR_RESOLUTION_NOT_SUPPORTED)));
    session.terminate();
}

#[test]
fn personalities_have_what_their_generation_has() {
    let haswell = Session::new("haswell");
    let skylake = Session::new("skylake-free");
    let alderlake = Session::new("alderlake");
    let no_profile = Err(raw(VA_STATUS_ERROR_UNSUPPORTED_PROFILE));
    let no_entrypoint = Err(raw(VA_STATUS_ERROR_UNSUPPORTED_ENTRYPOINT));
    assert_eq!(haswell.create_config(VAProfileHEVCMain, VAEntrypointVLD), no_profile);
    assert_eq!(haswell.create_config(VAProfileJPEGBaseline, VAEntrypointEncPicture), no_entrypoint);
    assert!(haswell.create_config(VAProfileH264High, VAEntrypointEncSlice).is_ok());
    assert!(haswell.table.vaSyncBuffer.is_none());
    assert_eq!(skylake.create_config(VAProfileNone, VAEntrypointVideoProc), no_profile);
    assert_eq!(skylake.create_config(VAProfileH264High, VAEntrypointEncSlice), no_entrypoint);
    assert_eq!(skylake.create_config(VAProfileHEVCMain10, VAEntrypointVLD), no_profile);
    assert!(skylake.create_config(VAProfileH264High, VAEntrypointEncSliceLP).is_ok());
    assert!(alderlake.create_config(VAProfileNone, VAEntrypointVideoProc).is_ok());
    assert!(alderlake.create_config(VAProfileHEVCMain10, VAEntrypointVLD).is_ok());
    assert_eq!(alderlake.create_config(VAProfileHEVCMain, VAEntrypointEncSliceLP), no_entrypoint);
    assert!(alderlake.table.vaSyncBuffer.is_some());
    for session in [haswell, skylake, alderlake] {
        session.terminate();
    }
}

#[test]
fn a_setting_that_makes_no_sense_says_what_does() {
    assert!(make("broadwell").unwrap_err().contains("haswell, skylake-free, alderlake"));
    assert!(make("haswell:/no/such/file").unwrap_err().contains("/no/such/file"));
    let directory = tempfile::tempdir().unwrap();
    let foreign = directory.path().join("foreign");
    std::fs::write(&foreign, vec![0; crate::control::SIZE]).unwrap();
    assert!(make(&format!("haswell:{}", foreign.display())).unwrap_err().contains("no control file"));
}

#[test]
fn faults_strike_after_as_many_calls_and_as_often_as_they_should() {
    let directory = tempfile::tempdir().unwrap();
    let (session, control) = Session::with_control("haswell", directory.path());
    let surface = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    let busy = VA_STATUS_ERROR_HW_BUSY;
    let mut fault = Fault { call: Call::SyncSurface, after: 2, times: Times::Count(2), action: Action::Status(busy) };
    let armed = control.arm(&fault).unwrap();
    let outcomes: Vec<VAStatus> = (0..6).map(|_| session.sync(surface)).collect();
    assert_eq!(outcomes, [OK, OK, raw(busy), raw(busy), OK, OK]);
    assert_eq!(control.hits(armed).unwrap(), 2);
    control.disarm(armed).unwrap();

    fault.times = Times::Sticky;
    let armed = control.arm(&fault).unwrap();
    let outcomes: Vec<VAStatus> = (0..5).map(|_| session.sync(surface)).collect();
    assert_eq!(outcomes, [OK, OK, raw(busy), raw(busy), raw(busy)]);
    control.disarm(armed).unwrap();
    assert_eq!(session.sync(surface), OK);
    session.terminate();
}

#[test]
fn limits_count_what_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let (session, control) = Session::with_control("haswell", directory.path());
    let limit = Fault { call: Call::CreateSurfaces, after: 0, times: Times::Sticky, action: Action::Limit(2) };
    let armed = control.arm(&limit).unwrap();
    let first = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    let third = session.create_surface(VA_FOURCC_NV12, 64, 64);
    assert_eq!(third, Err(raw(VA_STATUS_ERROR_ALLOCATION_FAILED)));
    assert_eq!(session.destroy_surface(first), OK);
    assert!(session.create_surface(VA_FOURCC_NV12, 64, 64).is_ok());
    assert_eq!((control.hits(armed).unwrap(), control.live(Object::Surface).unwrap()), (1, 2));
    session.terminate();
    assert_eq!((control.live(Object::Surface).unwrap(), control.leaked(Object::Surface).unwrap()), (0, 2));
}

#[test]
fn a_slow_device_takes_so_many_times_as_long() {
    const FACTOR: u32 = 10;
    let directory = tempfile::tempdir().unwrap();
    let (session, control) = Session::with_control("haswell", directory.path());
    let config = session.create_config(VAProfileNone, VAEntrypointVideoProc).unwrap();
    let id = session.create_context(config, 1920, 1080).unwrap();
    let source = session.create_surface(VA_FOURCC_NV12, 1920, 1080).unwrap();
    let target = session.create_surface(VA_FOURCC_NV12, 1280, 720).unwrap();
    let time = || {
        let start = Instant::now();
        assert_eq!(session.scale(id, source, target), OK);
        start.elapsed()
    };
    // The first one makes tables; of the others the fastest is what the device needs.
    time();
    let usual = (0..5).map(|_| time()).min().unwrap();
    let slow = Fault { call: Call::EndProcess, after: 0, times: Times::Count(1), action: Action::Slow(FACTOR) };
    control.arm(&slow).unwrap();
    let slowed = time();
    assert!(slowed > usual * (FACTOR - 2), "{slowed:?}, usually {usual:?}");
    assert_eq!(control.count(Counter::Scaled).unwrap(), 7);
    session.terminate();
}

#[test]
fn a_blocked_call_blocks_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (session, control) = Session::with_control("haswell", directory.path());
    let surface = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
    let wait = Duration::from_millis(300);
    let block = Fault { call: Call::SyncSurface, after: 0, times: Times::Count(1), action: Action::Block(wait) };
    let armed = control.arm(&block).unwrap();
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            let start = Instant::now();
            assert_eq!(session.sync(surface), OK);
            start.elapsed()
        });
        while control.hits(armed).unwrap() == 0 {
            thread::yield_now();
        }
        let other = session.create_surface(VA_FOURCC_NV12, 64, 64).unwrap();
        assert_eq!(session.sync(other), OK);
        assert!(!blocked.is_finished(), "the other call waited for the blocked one");
        assert!(blocked.join().unwrap() >= wait);
    });
    session.terminate();
}

#[test]
fn a_panic_becomes_a_status() {
    let outcome = catch(|| panic!("this message belongs to a test"));
    assert_eq!(status(outcome), raw(VA_STATUS_ERROR_UNKNOWN));
}
