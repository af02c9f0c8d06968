// Package record keeps what the Pi notes of its house: how each UPS stood, which nodes it
// heard, when it was started (rules N7, N9, N11). What a brain has not heard of at the time
// is held for it, until it has taken it.
//
// On disk, in the state directory:
//
//	record.jsonl         the newest lines, appended as they come; 2 MiB at most
//	record.old.jsonl     those before, replaced as a whole; so 7 days at least, unless 2 MiB
//	                     are full sooner, and 14 days and 4 MiB at most
//	record.cursor.json   which lines the brain has: all up to one, and up to 512 spans of later
//	                     ones; replaced as a whole
//
// A line is in the kernel's hands at once and not synced: kill -9 loses at most what was
// noted in the milliseconds before it, a power cut of the Pi the last seconds. What was
// delivered after the cursor was last written is delivered once more after a crash.
// Lines that are broken are skipped. A disk that takes nothing, or hangs, holds up nobody:
// the lines wait in memory, within bounds, the oldest go first.
//
// A line is dated by the boot, CLOCK_BOOTTIME and the wall clock, and says whether that was
// set: a Pi has no battery for it, begins with the time that it was switched off, and jumps
// when a time server answers. In the same boot an age is exact. An entry of an earlier boot is
// as old as this boot and what is known of those since, at least; for how long the machine was
// off the wall clock tells, if it is set now and was then, and what was set last of a boot
// holds for all its lines. Without such evidence the age is what is certain, or by a clock that
// is behind, and marked so. Nothing is thrown away because a clock cannot be right.
//
// It must not import another adapter.
package record
