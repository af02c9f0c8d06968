// Package smartups is an APC Smart-UPS on a pseudo terminal, and runs the real
// apcupsd on it.
//
// It speaks UPSLink, the "smart" serial protocol: single characters ask, lines that
// end in CR LF answer, and alerts (! $ % + #) come unasked and without a line end.
// It is for tests and labs; no program of the product may import it, and it imports
// none of them.
package smartups
