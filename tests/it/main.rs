//! End-to-end tests: the real programs, started as a user starts them, with independent peers: gst-rtsp-server as the
//! camera, ffmpeg, ffprobe and curl as clients. One binary, so that it links once.

mod support;

mod access;
mod admission;
mod api;
mod audio;
mod cameras;
mod canary;
mod check;
mod commands;
mod dashboard;
mod deploy;
mod detect;
mod devices;
mod fallback;
mod faults;
mod first_picture;
mod frigate;
mod frigate_config;
mod frigate_proof;
mod frigate_url;
mod hardware;
mod hls;
mod image;
mod instructions;
mod libav;
mod matrix;
mod outputs;
mod readme;
mod recovery;
mod reload;
mod rtsp;
mod rtsp_protocol;
mod sandbox;
mod shm;
mod shutdown;
mod sources;
mod supply_chain;
mod thrift;
mod tls;
mod transcode;
mod vlc;
