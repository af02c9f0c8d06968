// Package web is the page. It renders immutable views and decides nothing; it must not
// import another adapter.
package web
