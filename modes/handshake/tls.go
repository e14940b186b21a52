package handshake

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// ReasonTLS is why a handshake did not complete that failed in TLS already.
const ReasonTLS = "TLS handshake"

// PlainHTTP is what a client is told that speaks HTTP where TLS is spoken, in the
// words of net/http.
const PlainHTTP = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// RecordHeader is the length of a TLS record's header, in bytes (RFC 8446 section
// 5.1).
const RecordHeader = 5

// LooksLikeHTTP tells whether what came in place of the first TLS record's header
// is the beginning of an HTTP request.
func LooksLikeHTTP(header [RecordHeader]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// TLSFailure is the reason that counts a TLS handshake which ended with err; empty:
// the client left.
func TLSFailure(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return RefusedTimeout.Reason
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ""
	}
	return ReasonTLS
}

// SpeaksHTTP tells whether a TLS handshake ended with err because the client
// speaks plain HTTP.
func SpeaksHTTP(err error) bool {
	var header tls.RecordHeaderError
	return errors.As(err, &header) && header.Conn != nil && LooksLikeHTTP(header.RecordHeader)
}
