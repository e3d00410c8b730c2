using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The layer normalization kernels of <c>kernels/layer_normalization.cu</c>, which <see cref="CudaNormalization"/> calls.</summary>
internal sealed class CudaLayerNormalization
{
    private const int Threads = 256;
    private const int RowsPerThread = 16;

    private readonly CudaContext context;
    private readonly CudaKernel<LayerForwardArguments> layerForward;
    private readonly CudaKernel<LayerBackwardArguments> layerBackward;
    private readonly CudaKernel<LayerBackwardArguments> layerParameterSums;
    private readonly CudaKernel<LayerBackwardArguments> layerParameters;

    public CudaLayerNormalization(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn("layer_normalization.cu", typeof(LayerForwardArguments), typeof(LayerBackwardArguments)));
        layerForward = module.Kernel<LayerForwardArguments>("layerForward");
        layerBackward = module.Kernel<LayerBackwardArguments>("layerBackward");
        layerParameterSums = module.Kernel<LayerBackwardArguments>("layerParameterSums");
        layerParameters = module.Kernel<LayerBackwardArguments>("layerParameters");
    }

    /// <inheritdoc cref="INormalizationKernels.LayerForward"/>
    public void LayerForward(int rows, int channels, float epsilon, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer beta, DeviceBuffer output, DeviceBuffer saved)
    {
        ActivationType.RequireFloat32("normalization.LayerForward", input, output);
        LayerForwardArguments arguments = new()
        {
            Input = input.Address,
            Gamma = gamma.Address,
            Beta = beta.Address,
            Output = output.Address,
            Saved = saved.Address,
            Rows = rows,
            Channels = channels,
            Pitch = Shape.PitchOf(channels),
            Epsilon = epsilon,
        };
        layerForward.Launch(arguments, LaunchGeometry.Cover(rows * 32L, Threads));
    }

    /// <inheritdoc cref="INormalizationKernels.LayerBackward"/>
    public void LayerBackward(
        int rows, int channels, DeviceBuffer input, DeviceBuffer gamma, DeviceBuffer saved, DeviceBuffer outputGradient, DeviceBuffer inputGradient,
        GradientMode inputMode, DeviceBuffer gammaGradient, DeviceBuffer betaGradient, GradientMode parameterMode)
    {
        ActivationType.RequireFloat32("normalization.LayerBackward", input, outputGradient, inputGradient);
        int pitch = Shape.PitchOf(channels);
        RowGrid grid = new(rows, pitch, RowsPerThread);
        int slabs = (rows + grid.RowsOfSlab - 1) / grid.RowsOfSlab;
        LayerBackwardArguments arguments = new()
        {
            Input = input.Address,
            Gamma = gamma.Address,
            Saved = saved.Address,
            OutputGradient = outputGradient.Address,
            InputGradient = inputGradient.Address,
            GammaGradient = gammaGradient.Address,
            BetaGradient = betaGradient.Address,
            Rows = rows,
            RowsOfSlab = grid.RowsOfSlab,
            Slabs = slabs,
            Channels = channels,
            Pitch = pitch,
            AccumulateInput = inputMode == GradientMode.Accumulate ? 1 : 0,
            AccumulateParameters = parameterMode == GradientMode.Accumulate ? 1 : 0,
        };
        if (!gammaGradient.IsNone || !betaGradient.IsNone)
        {
            // Before the input's gradient, which may take the place of the output's.
            DeviceBuffer partials = context.Memory.Allocate(slabs * 2L * pitch * sizeof(double));
            arguments.Partials = partials.Address;
            layerParameterSums.Launch(arguments, grid.Geometry with { GridY = (uint)slabs });
            layerParameters.Launch(arguments, new LaunchGeometry((uint)((pitch + 31) / 32), 1, 1, 32, 8));
            context.Memory.Free(partials);
        }

        if (!inputGradient.IsNone)
        {
            layerBackward.Launch(arguments, LaunchGeometry.Cover(rows * 32L, Threads));
        }
    }
}

[KernelArguments("layer_normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct LayerForwardArguments
{
    public nint Input;
    public nint Gamma;
    public nint Beta;
    public nint Output;
    public nint Saved;
    public int Rows;
    public int Channels;
    public int Pitch;
    public float Epsilon;
}

[KernelArguments("layer_normalization.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct LayerBackwardArguments
{
    public nint Input;
    public nint Gamma;
    public nint Saved;
    public nint OutputGradient;
    public nint InputGradient;
    public nint Partials;
    public nint GammaGradient;
    public nint BetaGradient;
    public int Rows;
    public int RowsOfSlab;
    public int Slabs;
    public int Channels;
    public int Pitch;
    public int AccumulateInput;
    public int AccumulateParameters;
}
