//! The tables that turn VA-API's numbers into objects. One lock guards them all; it is never held while work is done.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::context::Context;
use crate::control::Object;
use crate::image::Image;
use crate::profiles::Config;
use crate::surface::Surface;
use crate::va::Status;

/// Objects of one kind by number.
#[derive(Debug)]
pub(crate) struct Table<T> {
    last: u32,
    objects: HashMap<u32, Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { last: 0, objects: HashMap::new() }
    }
}

/// All objects of a session.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    configs: Table<Config>,
    contexts: Table<Context>,
    surfaces: Table<Surface>,
    buffers: Table<Buffer>,
    images: Table<Image>,
}

/// A kind of object that has a number.
pub(crate) trait Kind: Sized {
    const OBJECT: Object;
    /// What is said of a number that stands for no such object.
    const INVALID: Status;

    fn table(objects: &mut Objects) -> &mut Table<Self>;
}

macro_rules! kinds {
    ($($type:ty, $object:ident, $invalid:ident, $table:ident;)*) => {
        $(impl Kind for $type {
            const OBJECT: Object = Object::$object;
            const INVALID: Status = Status::$invalid;

            fn table(objects: &mut Objects) -> &mut Table<Self> {
                &mut objects.$table
            }
        })*
    };
}

kinds! {
    Config, Config, INVALID_CONFIG, configs;
    Context, Context, INVALID_CONTEXT, contexts;
    Surface, Surface, INVALID_SURFACE, surfaces;
    Buffer, Buffer, INVALID_BUFFER, buffers;
    Image, Image, INVALID_IMAGE, images;
}

/// Where the kind stands in a number, so that no object is taken for one of another kind.
const KIND_SHIFT: u32 = 24;

impl Objects {
    /// Gives the object the next number of its kind that is free.
    pub(crate) fn insert<T: Kind>(&mut self, object: T) -> u32 {
        let kind = (T::OBJECT as u32 + 1) << KIND_SHIFT;
        let table = T::table(self);
        loop {
            table.last = (table.last + 1) % (1 << KIND_SHIFT);
            let id = kind | table.last;
            if let Entry::Vacant(place) = table.objects.entry(id) {
                place.insert(Arc::new(object));
                return id;
            }
        }
    }

    pub(crate) fn get<T: Kind>(&mut self, id: u32) -> Result<Arc<T>, Status> {
        T::table(self).objects.get(&id).cloned().ok_or(T::INVALID)
    }

    pub(crate) fn remove<T: Kind>(&mut self, id: u32) -> Result<Arc<T>, Status> {
        T::table(self).objects.remove(&id).ok_or(T::INVALID)
    }

    pub(crate) fn count<T: Kind>(&mut self) -> u64 {
        T::table(self).objects.len() as u64
    }
}
