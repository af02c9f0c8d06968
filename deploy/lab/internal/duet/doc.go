// Package duet proves what brain and Pi decide together: rule group G, and the invariants
// about commands. Its tests live through random histories of one house in which both
// decision cores run as they are, with everything around them made of a few lines: the
// link between them, a UPS, machines that obey or do not, people, disks that outlive
// crashes. All of it is on one virtual clock, in one goroutine.
//
// What happened is judged by the edges: the machines' log of commands and the UPS's truth.
package duet
