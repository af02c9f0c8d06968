// Package torture plays stories on many homes at once while it kills their programs, at
// named phases of their work and at random, and judges by what the edges saw.
//
// The judge knows the contract and the edges' record, nothing of the programs. Of the
// contract's invariants it judges 1 to 6. Left out are 7, which is about the journal's
// facts, and 8, which needs waking; of 3 a run that is stopped, of 4 caps and mutes.
package torture
