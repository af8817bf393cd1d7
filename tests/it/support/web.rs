//! Servers of HTTP: Debian's nginx, the ffmpeg program listening, and ones that answer what they are told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

use super::{command_output, eventually};

/// nginx with a directory of its own: plain at `url`, behind TLS at `tls_url`. `/login/` wants viewer and s3cret-canary,
/// `/moved` redirects.
pub struct Nginx {
    child: Child,
    dir: TempDir,
    ports: [u16; 2],
}

const PASSWORD: &str = "s3cret-canary";

impl Nginx {
    /// Starts it on free ports.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Workers of nginx that was started by root are somebody else.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("www")).unwrap();
        std::fs::create_dir(path("www/login")).unwrap();
        let hash = command_output("openssl", &["passwd", "-apr1", PASSWORD]);
        std::fs::write(path("users"), format!("viewer:{}", String::from_utf8(hash).unwrap())).unwrap();
        let Certificate { key, certificate } = Certificate::make(dir.path());
        let ports = [free_port(), free_port()];
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
             events {{}}
             http {{
               access_log off; root {dir}/www; default_type application/octet-stream;
               types {{ video/mp2t ts; video/x-flv flv; video/mp4 mp4; image/jpeg jpg; text/html html;
                        \"multipart/x-mixed-replace; boundary=gst\" multipart; }}
               client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
               uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
               server {{
                 listen 127.0.0.1:{}; listen 127.0.0.1:{} ssl;
                 ssl_certificate {certificate}; ssl_certificate_key {key};
                 location /login/ {{ auth_basic camera; auth_basic_user_file {dir}/users; }}
                 location /moved {{ return 302 http://127.0.0.1:1/elsewhere?password=s3cret-canary; }}
               }}
             }}",
            ports[0],
            ports[1],
            dir = dir.path().display(),
        );
        std::fs::write(path("nginx.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .args(["-c", &path("nginx.conf"), "-p", dir.path().to_str().unwrap(), "-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx runs: `make test` installs it");
        wait_for_port(ports[0]);
        Self { child, dir, ports }
    }

    /// What it serves.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join("www").join(name).to_str().unwrap().to_owned()
    }

    /// `http://…` of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.ports[0])
    }

    /// `https://…` of a file.
    pub fn tls_url(&self, name: &str) -> String {
        format!("https://127.0.0.1:{}/{name}", self.ports[1])
    }

    /// The certificate that it shows.
    pub fn certificate(&self) -> String {
        self.dir.path().join("ca.pem").to_str().unwrap().to_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Apache with a directory of its own, all of which wants viewer and s3cret-canary by digest (RFC 7616).
pub struct Apache {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Apache {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("www")).unwrap();
        let hash = command_output("sh", &["-c", &format!("printf %s viewer:camera:{PASSWORD} | md5sum | cut -c1-32")]);
        std::fs::write(path("users"), format!("viewer:camera:{}", String::from_utf8(hash).unwrap())).unwrap();
        let port = free_port();
        let modules = ["mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_digest", "mime"];
        let modules: String = modules
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
        let config = format!(
            "{modules}Listen 127.0.0.1:{port}
             ServerName camera
             User www-data
             Group www-data
             DefaultRuntimeDir {dir}
             PidFile {dir}/pid
             ErrorLog {dir}/error.log
             TypesConfig /dev/null
             AddType video/mp2t .ts
             AddType image/jpeg .jpg
             DocumentRoot {dir}/www
             <Directory {dir}/www>
               AuthType Digest
               AuthName camera
               AuthDigestProvider file
               AuthUserFile {dir}/users
               Require valid-user
             </Directory>",
            dir = dir.path().display(),
        );
        std::fs::write(path("apache.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/apache2")
            .args(["-X", "-f", &path("apache.conf")])
            .stdin(Stdio::null())
            .spawn()
            .expect("apache2 runs: `make test` installs it");
        wait_for_port(port);
        Self { child, dir, port }
    }

    /// What it serves.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join("www").join(name).to_str().unwrap().to_owned()
    }

    /// `http://…` of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for 127.0.0.1 that only itself has signed, as cameras have them.
pub struct Certificate {
    /// The file of its key.
    pub key: String,
    /// Its own file.
    pub certificate: String,
}

impl Certificate {
    /// Makes one in `dir`.
    pub fn make(dir: &Path) -> Self {
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let (key, certificate, config) = (path("key.pem"), path("ca.pem"), path("openssl.cnf"));
        // No authority, as a certificate of a camera is none; OpenSSL's own configuration would make it one.
        std::fs::write(&config, "[req]\ndistinguished_name = name\n[name]\n").unwrap();
        let request = ["req", "-x509", "-config", &config, "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let name = ["-subj", "/CN=camera", "-addext", "subjectAltName=IP:127.0.0.1"];
        let files = ["-keyout", &key, "-out", &certificate];
        command_output("openssl", &[&request[..], &name, &files].concat());
        Self { key, certificate }
    }

    /// Makes one in `dir` whose day was long ago.
    pub fn make_expired(dir: &Path) -> Self {
        let Self { key, certificate } = Self::make(dir);
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let request = ["req", "-new", "-key", &key, "-subj", "/CN=camera", "-out", &path("request.pem")];
        command_output("openssl", &request);
        // `x509` and `req` learn to take dates with OpenSSL 3.4 only.
        let config = format!(
            "[ca]\ndefault_ca=a\n[a]\ndatabase={0}/index\nrand_serial=yes\nnew_certs_dir={0}\npolicy=p\n\
             x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n",
            dir.display()
        );
        std::fs::write(path("index"), "").unwrap();
        std::fs::write(path("ca.cnf"), config).unwrap();
        let sign = ["ca", "-batch", "-notext", "-config", &path("ca.cnf"), "-selfsign", "-md", "sha256"];
        let day = ["-startdate", "20250101000000Z", "-enddate", "20250102000000Z"];
        let files = ["-keyfile", &key, "-in", &path("request.pem"), "-out", &certificate];
        command_output("openssl", &[&sign[..], &day, &files].concat());
        Self { key, certificate }
    }
}

/// ffmpeg serving a clip over HTTP, in real time and again and again, to the one client that comes.
pub struct FfmpegServer {
    child: Child,
    /// Where.
    pub url: String,
}

impl FfmpegServer {
    /// Serves `clip` in `format` (`mpegts`, `flv`, `mpjpeg`) with these further arguments.
    pub fn start(clip: &Path, format: &str, arguments: &[&str]) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}/live");
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
            .arg(clip)
            .args(["-c", "copy"])
            .args(arguments)
            .args(["-f", format, "-listen", "1", &url])
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg runs: `make test` installs it");
        Self { child, url }
    }
}

impl Drop for FfmpegServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request with `head`, and goes on with `more` until the client leaves. What no real server does.
pub fn hostile_server(head: &'static [u8], more: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/live", listener.local_addr().unwrap());
    let answer = move |mut client: TcpStream| -> std::io::Result<()> {
        let _ = client.read(&mut [0; 4096])?;
        client.write_all(head)?;
        while !more.is_empty() {
            client.write_all(more)?;
        }
        // Says no more, and stays.
        client.read(&mut [0; 1]).map(drop)
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || answer(client));
        }
    });
    url
}

/// A port that nobody listens on just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for_port(port: u16) {
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    eventually("the server listens", pause, || TcpStream::connect(("127.0.0.1", port)).ok());
}
