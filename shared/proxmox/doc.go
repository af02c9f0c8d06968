// Package proxmox asks one Proxmox VE node, over its own API, about its guests
// and itself, and shuts them down.
//
// It wraps github.com/luthermonson/go-proxmox, which takes many failures for
// success: an answer that is not 2xx, or not JSON, or too large never reaches
// it but becomes an *Error that keeps the HTTP reason phrase, where Proxmox puts
// the cause. Redirects are not followed, proxies from the environment are not
// used, the certificate is always verified, every request has a deadline.
//
// What to shut down, when and in which order is decided elsewhere. The package
// must import no other package of this module.
package proxmox
