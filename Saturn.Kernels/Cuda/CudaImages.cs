using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The batches of <c>kernels/images.cu</c>.</summary>
internal sealed class CudaImages : IImageKernels
{
    private const int Threads = 256;

    private readonly CudaKernel<AssembleArguments> assemble;
    private readonly CudaKernel<AssembleArguments> assembleBf16;

    public CudaImages(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("images.cu", typeof(AssembleArguments)));
        assemble = module.Kernel<AssembleArguments>("assemble");
        assembleBf16 = module.Kernel<AssembleArguments>("assembleBf16");
    }

    /// <inheritdoc/>
    public void Assemble(in ImageSet set, in ImageSelection selection, DeviceBuffer images, DeviceBuffer labels)
    {
        AssembleArguments arguments = new()
        {
            Source = set.Images.Address,
            SourceLabels = set.Labels.Address,
            Scale = set.Scale.Address,
            Offset = set.Offset.Address,
            Order = selection.Order.Address,
            Position = selection.Position.Address,
            Output = images.Address,
            Labels = labels.Address,
            Height = set.Height,
            Width = set.Width,
            Channels = set.Channels,
            CropPadding = set.CropPadding,
            Flip = set.Flip ? 1 : 0,
            Augments = selection.Augments ? 1 : 0,
            Skip = selection.Skip,
            Stream = selection.Stream,
        };
        CudaKernel<AssembleArguments> kernel = images.Type == ElementType.BFloat16 ? assembleBf16 : assemble;
        kernel.Launch(arguments, new LaunchGeometry((uint)selection.Count, (uint)((set.Height * set.Width + Threads - 1) / Threads), 1, Threads));
    }
}

[KernelArguments("images.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct AssembleArguments
{
    public nint Source;
    public nint SourceLabels;
    public nint Scale;
    public nint Offset;
    public nint Order;
    public nint Position;
    public nint Output;
    public nint Labels;
    public int Height;
    public int Width;
    public int Channels;
    public int CropPadding;
    public int Flip;
    public int Augments;
    public int Skip;
    public uint Stream;
}
