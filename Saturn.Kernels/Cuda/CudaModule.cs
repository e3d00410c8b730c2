using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

/// <summary>One <c>.cu</c> file, or an image compiled elsewhere, on one device: compiled for it and loaded when the first of its kernels is launched. The context owns it.</summary>
public sealed class CudaModule
{
    private readonly KernelSource? source;
    private readonly byte[] image = [];
    private readonly string imageName = "";
    private CompiledModule? compiled;
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

    /// <summary>The file's name, or the name that the image was given.</summary>
    public string Name => source?.FileName ?? imageName;

    /// <summary>Launches so far of its kernels.</summary>
    internal long Launches { get; set; }

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
            module = source is null ? Context.Driver.LoadModule(image, imageName) : LoadSource(source);
        }

        nint function = Context.Driver.GetFunction(module, name);
        if (dynamicSharedBytes > 0)
        {
            // Needed from 48 KiB on, less what the kernel declares itself.
            Context.Driver.SetFunctionAttribute(function, CudaFunctionAttribute.MaximumDynamicSharedSizeBytes, dynamicSharedBytes);
        }

        return function;
    }

    /// <summary>Compiles the file, unless that is done. Other modules may be compiled at the same time.</summary>
    internal void Compile()
    {
        if (source is not null && module == 0)
        {
            compiled ??= Context.Compile(source);
        }
    }

    private nint LoadSource(KernelSource file)
    {
        Compile();
        CompiledModule code = compiled!;
        compiled = null;
        ModuleReport.Show(file, code);
        return Context.Driver.LoadModule(code.Image, code.SourceName);
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
