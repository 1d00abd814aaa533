//! How much memory one input takes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn change(bytes: isize) {
    // The last allocations of a thread come after its locals.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// Safety: all is left to the system's allocator.
#[allow(unsafe_code, reason = "there is no other way to see allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        change(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Most bytes that this thread held at once while it ran `what`, beyond those from before.
pub fn most(what: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    what();
    usize::try_from(MOST.get() - before).unwrap_or(0)
}
