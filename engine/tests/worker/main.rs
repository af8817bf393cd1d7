//! The engine through its front door: the real program on a socket pair, as `camshaft` runs it.

mod camera;
mod device;
mod effort;
mod life;
mod renditions;
mod robustness;
mod stills;
mod support;
mod thrift;
