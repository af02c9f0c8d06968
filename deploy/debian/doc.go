// Command debian makes the Debian packages of the three programs: it builds each for each
// architecture, writes its manual page, completions and maintainer scripts, and has nfpm
// pack them as the *.yaml files here say.
//
// It is run in the module's root, by `make packages`. Equal sources give equal packages,
// wherever they are built. What nfpm is, the Makefile says: it is no part of this module.
package main
