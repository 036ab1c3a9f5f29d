//! `Access`: who reads and writes which slots of a buffer, for a model to see. Elsewhere it is nothing.
//!
//! loom does not see what pointers do. So whoever goes to the memory through one says so here, and two threads at one slot
//! without anything that orders them are an error.

#[cfg(loom)]
pub(super) use modelled::Access;

#[cfg(not(loom))]
#[derive(Clone, Default)]
pub(super) struct Access(());

#[cfg(not(loom))]
impl Access {
    #[inline(always)]
    pub(super) fn read(&self, _slots: std::ops::Range<usize>) {}

    #[inline(always)]
    pub(super) fn write(&self, _slots: std::ops::Range<usize>) {}

    #[inline(always)]
    pub(super) fn read_all(&self) {}

    #[inline(always)]
    pub(super) fn write_all(&self) {}
}

#[cfg(loom)]
mod modelled {
    use std::ops::Range;
    use std::sync::Arc;

    use loom::cell::UnsafeCell;

    /// Models have no larger batches.
    const SLOTS: usize = 4;

    #[derive(Clone)]
    pub(crate) struct Access(Arc<[Slot; SLOTS]>);

    struct Slot(UnsafeCell<()>);

    // SAFETY: there is nothing in it to be raced for; loom keeps account of who is there.
    unsafe impl Sync for Slot {}

    impl Default for Access {
        fn default() -> Self {
            Access(Arc::new(std::array::from_fn(|_| Slot(UnsafeCell::new(())))))
        }
    }

    impl Access {
        pub(crate) fn read(&self, slots: Range<usize>) {
            self.0[slots].iter().for_each(|slot| slot.0.with(|_| ()));
        }

        pub(crate) fn write(&self, slots: Range<usize>) {
            self.0[slots].iter().for_each(|slot| slot.0.with_mut(|_| ()));
        }

        pub(crate) fn read_all(&self) {
            self.read(0..SLOTS);
        }

        pub(crate) fn write_all(&self) {
            self.write(0..SLOTS);
        }
    }
}
