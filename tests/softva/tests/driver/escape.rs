//! What the driver reports of its attempts to break out, where nothing holds it back.

use crate::control::{Escape, Outcome};
use crate::machine::{Machine, NODE, output};
use crate::media::clip;

/// Decodes below a shell, so that the parent that is traced is no test. The shell does something first.
fn decode_after(machine: &Machine, preparation: &str) {
    let path = clip("base.mp4", "352x288", "-c:v libx264 -profile:v baseline -pix_fmt yuv420p");
    let script =
        format!("{preparation}; ffmpeg -v error -hwaccel vaapi -hwaccel_device {NODE} -i \"$0\" -f null - ; true");
    let found = output(machine.command("bash").args(["-c", &script]).arg(path));
    assert!(found.status.success(), "{found:?}");
}

#[test]
fn without_a_sandbox_everything_is_possible() {
    let machine = Machine::new("haswell");
    machine.control.attempt(&Escape::ALL).unwrap();
    decode_after(&machine, "true");
    for escape in Escape::ALL {
        assert_eq!(machine.control.outcome(escape).unwrap(), Outcome::Allowed, "{escape:?}");
    }
}

#[test]
fn a_refusal_comes_with_its_errno() {
    const EISDIR: i32 = 21;
    let machine = Machine::new("haswell");
    machine.control.attempt(&[Escape::OpenOtherNode]).unwrap();
    decode_after(&machine, "umount /dev/dri/card3; rm /dev/dri/card3; mkdir /dev/dri/card3");
    assert_eq!(machine.control.outcome(Escape::OpenOtherNode).unwrap(), Outcome::Refused(EISDIR));
    assert_eq!(machine.control.outcome(Escape::Socket).unwrap(), Outcome::NotAttempted);
}
