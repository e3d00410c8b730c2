using System.Runtime.CompilerServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Cuda.Cublas;

namespace Saturn.Kernels.Cuda;

/// <summary>
/// What all kernel families of one CUDA device share: the driver, the primary context, the one stream on which everything is issued in order, the
/// memory, and the loaded modules. Scratch memory may be freed right after the launch that uses it, because the next holder's work comes later on the
/// same stream.
/// </summary>
public sealed unsafe class CudaContext : IDisposable
{
    [ThreadStatic]
    private static CudaContext? current;

    private readonly List<CudaModule> modules = [];
    private readonly Lazy<KernelCompiler> compiler = new(KernelCompiler.Create);
    private readonly nint handle;
    private readonly KernelReplacement? replacement;
    private bool? allowsLargeArguments;
    private int compilations;
    private bool disposed;

    internal CudaContext(ICudaDriver driver, int ordinal, KernelReplacement? replacement = null)
    {
        if ((uint)ordinal >= (uint)driver.DeviceCount)
        {
            throw new ArgumentException($"Device {ordinal} does not exist: {driver.Description} has {driver.DeviceCount} device(s), numbered from 0.", nameof(ordinal));
        }

        this.replacement = replacement;
        Driver = driver;
        Ordinal = ordinal;
        handle = driver.RetainPrimaryContext(ordinal);
        MakeCurrent();
        Stream = driver.CreateStream();
        Memory = new CudaMemory(this);
        Uploads = new CudaUploads(this);
        MultiprocessorCount = driver.DeviceAttribute(ordinal, CudaDeviceAttribute.MultiprocessorCount);
        Cublas = !driver.IsEmulated && CublasSearch.OfThisMachine().Find() is { } library ? new CublasMatrix(this, library) : null;
    }

    /// <summary>The driver, real or emulated.</summary>
    public ICudaDriver Driver { get; }

    /// <summary>The device's number.</summary>
    public int Ordinal { get; }

    /// <summary>The stream of all launches and copies.</summary>
    public nint Stream { get; }

    /// <summary>Streaming multiprocessors of the device, for grids that fill it.</summary>
    public int MultiprocessorCount { get; }

    /// <summary>Whether a kernel may take 32,764 bytes of arguments instead of 4,096: both driver and compiler since CUDA 12.1.</summary>
    internal bool AllowsLargeArguments => allowsLargeArguments ??= Driver.DriverVersion >= 12010 && Version.Parse(compiler.Value.NvrtcVersion) >= new Version(12, 1);

    /// <summary>The device's memory, also for scratch.</summary>
    internal CudaMemory Memory { get; }

    /// <summary>Large matrix products; null where there is no cuBLAS, or none is wanted.</summary>
    internal CublasMatrix? Cublas { get; }

    /// <summary>Copies from the host that do not wait.</summary>
    internal CudaUploads Uploads { get; }

    /// <summary>Who compares what is issued in one step with what was issued in the one before; null most of the time.</summary>
    internal CudaIssueLog? IssueLog { get; set; }

    /// <summary>Files that were compiled so far, or found compiled.</summary>
    internal int Compilations => compilations;

    /// <summary>Launches so far of the kernels of one file, or of all; a graph's replays are not among them.</summary>
    /// <param name="fileName">The file's name, such as <c>elementwise.cu</c>; null for all.</param>
    public long LaunchCount(string? fileName = null)
    {
        long count = 0;
        foreach (CudaModule module in modules)
        {
            count += fileName is null || module.Name == fileName ? module.Launches : 0;
        }

        return count;
    }

    /// <summary>A module for one of Saturn's own <c>.cu</c> files, or for one of the user's.</summary>
    public CudaModule Module(KernelSource source)
    {
        CudaModule module = new(this, replacement is not null && replacement.FileName == source.FileName ? source.WithText(replacement.Text) : source);
        modules.Add(module);
        return module;
    }

    /// <summary>A module of code that is compiled already: machine code for this device, or PTX.</summary>
    /// <param name="image">The code.</param>
    /// <param name="name">Its name in errors.</param>
    public CudaModule Module(byte[] image, string name)
    {
        ArgumentNullException.ThrowIfNull(image);
        CudaModule module = new(this, image, name);
        modules.Add(module);
        return module;
    }

    /// <summary>
    /// Makes the context current on the calling thread, unless it is. Everything that calls the driver does so first: a device may be used from any thread, and the driver acts on the
    /// thread's context.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void MakeCurrent()
    {
        if (current != this)
        {
            Driver.SetCurrentContext(handle);
            current = this;
        }
    }

    /// <summary>Launches a loaded kernel on the stream.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Launch(nint function, in LaunchGeometry geometry, void* arguments, nuint argumentBytes)
    {
        MakeCurrent();
        Driver.Launch(function, geometry, arguments, argumentBytes, Stream);
    }

    /// <summary>Compiles the files of all modules that are not loaded yet, in parallel.</summary>
    internal void CompileModules() => Parallel.ForEach(modules, module => module.Compile());

    internal CompiledModule Compile(KernelSource source)
    {
        Interlocked.Increment(ref compilations);
        return compiler.Value.Compile(source, new KernelTarget(Driver.TargetArchitecture(Ordinal)));
    }

    /// <summary>Waits for the stream, unloads the modules, frees the memory and releases the context.</summary>
    public void Dispose()
    {
        if (disposed)
        {
            return;
        }

        disposed = true;
        try
        {
            // A failure that nobody has seen yet is reported here, after everything was given back.
            if (!Driver.IsLost)
            {
                MakeCurrent();
                Driver.SynchronizeStream(Stream);
            }
        }
        finally
        {
            foreach (CudaModule module in modules)
            {
                module.Unload();
            }

            Cublas?.Dispose();
            Uploads.Dispose();
            Memory.Dispose();
            Driver.DestroyStream(Stream);
            Driver.ReleasePrimaryContext(Ordinal);
            if (compiler.IsValueCreated)
            {
                compiler.Value.Dispose();
            }

            if (current == this)
            {
                current = null;
            }
        }
    }
}
