//! How much shared memory there may be, and who has it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::StreamMetrics;

/// All shared memory of the process.
#[derive(Debug)]
pub struct Pool {
    readers_max: u32,
    bytes_max: u64,
    used: Mutex<Used>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    readers: u32,
    bytes: u64,
}

/// A reader's part of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    metrics: Arc<StreamMetrics>,
    bytes: u64,
}

impl Pool {
    /// Room for `readers_max` readers and `bytes_max` of their memory (`limits.shm_readers`, `limits.shm_bytes`).
    pub fn new(readers_max: u32, bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { readers_max, bytes_max, used: Mutex::default() })
    }

    /// A place for one more reader, of the stream that `metrics` count; it has no memory yet.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] with the limit that stands in the way.
    pub fn join(self: &Arc<Self>, metrics: &Arc<StreamMetrics>) -> Result<Share> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.readers >= self.readers_max {
            let message = format!(
                "all {} places for readers of shared memory are taken (limits.shm_readers): take live.raw instead",
                self.readers_max
            );
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        used.readers += 1;
        metrics.all.shm_readers.with_label_values(&[metrics.id()]).inc();
        Ok(Share { pool: self.clone(), metrics: metrics.clone(), bytes: 0 })
    }
}

impl Share {
    /// Makes it `more` bytes larger.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] if there is no room for that.
    pub fn grow(&mut self, more: u64) -> Result<()> {
        let mut used = self.pool.used.lock().unwrap_or_else(PoisonError::into_inner);
        let max = self.pool.bytes_max;
        if used.bytes.saturating_add(more) > max {
            let message = format!(
                "{more} bytes of shared memory are too many beside the {} in use: limits.shm_bytes is {max}. Ask for fewer \
                 slots or smaller pictures, or take live.raw instead",
                used.bytes
            );
            return Err(Error::new(ErrorKind::Overloaded, message));
        }
        used.bytes += more;
        self.bytes += more;
        self.metrics.all.shm_bytes.with_label_values(&[self.metrics.id()]).add(more as i64);
        Ok(())
    }

    /// Makes it `less` bytes smaller.
    pub fn shrink(&mut self, less: u64) {
        let less = less.min(self.bytes);
        self.pool.used.lock().unwrap_or_else(PoisonError::into_inner).bytes -= less;
        self.bytes -= less;
        self.metrics.all.shm_bytes.with_label_values(&[self.metrics.id()]).sub(less as i64);
    }

    /// What its stream is counted in.
    pub fn metrics(&self) -> &Arc<StreamMetrics> {
        &self.metrics
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.bytes);
        self.pool.used.lock().unwrap_or_else(PoisonError::into_inner).readers -= 1;
        self.metrics.all.shm_readers.with_label_values(&[self.metrics.id()]).dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn readers_and_bytes_are_bounded_and_come_back() {
        let metrics = Arc::new(Arc::new(Metrics::new()).stream("door"));
        let pool = Pool::new(2, 100);
        let (mut one, mut two) = (pool.join(&metrics).unwrap(), pool.join(&metrics).unwrap());
        one.grow(40).unwrap();
        two.grow(40).unwrap();
        assert!(pool.join(&metrics).unwrap_err().message().contains("limits.shm_readers"));
        assert!(one.grow(21).unwrap_err().message().contains("limits.shm_bytes"));
        one.grow(20).unwrap();
        one.shrink(30);
        drop(two);
        let mut three = pool.join(&metrics).unwrap();
        assert_eq!(three.grow(71).unwrap_err().kind(), ErrorKind::Overloaded);
        three.grow(70).unwrap();
        drop((one, three));
        assert!(metrics.all.text().contains("camshaft_shm_readers{stream=\"door\"} 0"));
        assert!(metrics.all.text().contains("camshaft_shm_bytes{stream=\"door\"} 0"));
        pool.join(&metrics).unwrap().grow(100).unwrap();
    }
}
