using System.Diagnostics.CodeAnalysis;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Streams;

/// <summary>Objects of one kind by the handles that the driver hands out. No handle is ever used twice, so a stale one is noticed.</summary>
/// <param name="kind">The kind's name in messages, such as "stream".</param>
internal sealed class HandleTable<T>(string kind)
    where T : class
{
    private static long last = 0x1000;

    private readonly Dictionary<nint, T> objects = [];

    /// <summary>Number of live objects.</summary>
    public int Count => objects.Count;

    /// <summary>The live objects and their handles.</summary>
    public IEnumerable<KeyValuePair<nint, T>> All => objects;

    /// <summary>The object of a handle.</summary>
    /// <exception cref="CudaException">The handle is none of this kind, or its object was destroyed.</exception>
    public T this[nint handle] => objects.TryGetValue(handle, out T? value) ? value : throw Unknown(handle);

    /// <summary>Hands out a handle.</summary>
    public nint Add(T value)
    {
        nint handle = (nint)Interlocked.Add(ref last, 16);
        objects.Add(handle, value);
        return handle;
    }

    /// <summary>Ends a handle.</summary>
    public T Remove(nint handle) => objects.Remove(handle, out T? value) ? value : throw Unknown(handle);

    /// <summary>The object of a handle, if it is one of this kind.</summary>
    public bool TryGet(nint handle, [NotNullWhen(true)] out T? value) => objects.TryGetValue(handle, out value);

    private CudaException Unknown(nint handle) =>
        new($"CUDA_ERROR_INVALID_HANDLE (400): 0x{handle:x} is no {kind} of this driver, or one that was destroyed.", EmulatedDevice.InvalidHandle);
}
