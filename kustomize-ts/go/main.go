// Command kustomize is upstream's kustomize as a WebAssembly reactor: a host calls its exports, and it asks the host for
// files. It has no file system, no network and no processes.
//
// A call: allocate a buffer for the input, write the input into it, call build or decode with nothing more, and read
// output_length bytes at output. Buffers stay valid until the next call.
package main

import (
	"log"
	"os"
	"runtime"
	"unsafe"
)

// What a call answers.
const (
	statusOK = int32(iota)
	// The output is a failure as JSON.
	statusFailed
	// The output is the text of a panic; the instance must not be used any more.
	statusPanicked
	// The call met what an earlier one left behind, which is gone now: call again.
	statusAgain
)

var input, output []byte

// ballast is never touched, so that it takes no memory. The garbage collector sets its pace by the size of the heap, and a
// build begins with next to nothing: without it, most of its collections come early and free little.
var ballast = make([]byte, 24<<20)

// What may lie around between two calls, in bytes.
const untidy = 48 << 20

func init() {
	// Builds must not see what the host set for the runtime: files of generators can name environment variables.
	os.Clearenv()
	log.SetFlags(0)
}

//go:wasmexport allocate
func allocate(length int32) unsafe.Pointer {
	// One byte more, so that there is something to point at.
	input = make([]byte, length, length+1)
	return unsafe.Pointer(unsafe.SliceData(input))
}

//go:wasmexport output
func outputPointer() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(output))
}

//go:wasmexport output_length
func outputLength() int32 {
	return int32(len(output))
}

// The input is a buildRequest; the output YAML, or a JSON array for objects.
//
//go:wasmexport build
func exportBuild() int32 {
	return answer(build)
}

// The input is a file of manifests; the output a JSON array of its documents.
//
//go:wasmexport decode
func exportDecode() int32 {
	return answer(decode)
}

// rest is called when nobody waits: a collection is cheap between two calls, since little is alive.
//
//go:wasmexport rest
func rest() {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > uint64(len(ballast))+untidy {
		runtime.GC()
	}
}

func answer(call func([]byte) ([]byte, int32)) (status int32) {
	request := input
	input, output = nil, nil
	defer func() {
		if cause := recover(); cause != nil {
			output, status = []byte(describePanic(cause)), statusPanicked
		}
	}()
	output, status = call(request)
	return status
}

func main() {}
