package main

import (
	"errors"
	"net/http"
)

var errRemote = errors.New("nothing is read over the network")

// refusingTransport is the way of upstream's loader to web servers.
type refusingTransport struct{}

func (refusingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if current != nil {
		return nil, current.refuse("remote", request.URL.String(), errRemote.Error())
	}
	return nil, errRemote
}

func init() {
	http.DefaultTransport = refusingTransport{}
}
