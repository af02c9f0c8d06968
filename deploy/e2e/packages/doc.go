// Package packages installs the project's Debian packages on booted machines, upgrades them,
// removes them and looks at what is left. Its tests are built with the tag packages and run as
// root; `make packages-guests` runs them. They share machines' file systems with package e2e.
//
// In the environment:
//
//	SENTINEL_E2E_MIRROR  a Debian mirror
//	SENTINEL_E2E_DEBS    a directory with the packages of the versions 0.0.1 and 0.0.2, which are
//	                     made there if it has none; else they are made each time
package packages
