using System.Runtime.CompilerServices;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// One kernel of a <c>.cu</c> file that takes one blittable struct by value. It is compiled and loaded at its first launch; later launches cost
/// the driver's call and nothing on the managed heap.
/// </summary>
/// <typeparam name="TArguments">The argument struct, declared with the same name and fields in the <c>.cu</c> file.</typeparam>
/// <param name="module">The module that holds the kernel.</param>
/// <param name="name">The kernel's name, declared <c>extern "C"</c>.</param>
/// <param name="dynamicSharedBytes">The most dynamic shared memory a launch asks for; the driver is told once, at load.</param>
public sealed class CudaKernel<TArguments>(CudaModule module, string name, int dynamicSharedBytes = 0)
    where TArguments : unmanaged
{
    private nint function;

    /// <summary>The kernel's name.</summary>
    public string Name => name;

    /// <summary>Launches the kernel on the context's stream.</summary>
    public unsafe void Launch(in TArguments arguments, in LaunchGeometry geometry)
    {
        if (function == 0)
        {
            function = module.Load(name, dynamicSharedBytes);
        }

        fixed (TArguments* pointer = &arguments)
        {
            module.Context.Launch(function, geometry, pointer, (nuint)Unsafe.SizeOf<TArguments>());
        }
    }
}
