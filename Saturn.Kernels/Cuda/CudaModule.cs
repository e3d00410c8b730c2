using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

/// <summary>One <c>.cu</c> file, or an image compiled elsewhere, on one device: compiled for it and loaded when the first of its kernels is launched. The context owns it.</summary>
public sealed class CudaModule
{
    private readonly KernelSource? source;
    private readonly byte[] image = [];
    private readonly string imageName = "";
    private nint module;

    internal CudaModule(CudaContext context, KernelSource source)
    {
        Context = context;
        this.source = source;
    }

    internal CudaModule(CudaContext context, byte[] image, string name)
    {
        Context = context;
        this.image = image;
        imageName = name;
    }

    /// <summary>The context that the module is loaded into.</summary>
    public CudaContext Context { get; }

    /// <summary>A kernel of this module; nothing is compiled before its first launch.</summary>
    /// <inheritdoc cref="CudaKernel{TArguments}" path="/param"/>
    public CudaKernel<TArguments> Kernel<TArguments>(string name, int dynamicSharedBytes = 0)
        where TArguments : unmanaged => new(this, name, dynamicSharedBytes);

    internal nint Load(string name, int dynamicSharedBytes)
    {
        Context.MakeCurrent();
        if (module == 0)
        {
            module = source is null ? Context.Driver.LoadModule(image, imageName) : Context.LoadModule(source);
        }

        nint function = Context.Driver.GetFunction(module, name);
        if (dynamicSharedBytes > 0)
        {
            // Needed from 48 KiB on, less what the kernel declares itself.
            Context.Driver.SetFunctionAttribute(function, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, dynamicSharedBytes);
        }

        return function;
    }

    internal void Unload()
    {
        if (module != 0)
        {
            Context.Driver.UnloadModule(module);
            module = 0;
        }
    }
}
