using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The activation kernels of <c>kernels/activation.cu</c>.</summary>
internal sealed class CudaActivation : IActivationKernels
{
    private const int RowsPerThread = 4;

    private readonly CudaContext context;
    private readonly TypedKernel<ActivationArguments> forward;
    private readonly TypedKernel<ActivationGradientArguments> backward;

    public CudaActivation(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn("activation.cu", typeof(ActivationArguments), typeof(ActivationGradientArguments)));
        forward = new TypedKernel<ActivationArguments>(module, "activationForward");
        backward = new TypedKernel<ActivationGradientArguments>(module, "activationBackward");
    }

    /// <inheritdoc/>
    public void Forward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer output, in ActivityReport activity)
    {
        ActivationType type = ActivationType.Of("activation.Forward", input, output);
        ActivationArguments arguments = new()
        {
            Input = input.Address,
            Output = output.Address,
            Activity = Activity.Begin(context, activity, shape.Channels),
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            Kind = (int)activation.Kind,
            Parameter = activation.Parameter,
        };
        forward.Launch(type, arguments, new RowGrid(shape.Rows, shape.Pitch, RowsPerThread, type.OwnedChannels).Geometry);
    }

    /// <inheritdoc/>
    public void Backward(Activation activation, in Shape shape, DeviceBuffer input, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        ActivationType type = ActivationType.Of("activation.Backward", input, outputGradient, inputGradient);
        ActivationGradientArguments arguments = new()
        {
            Input = input.Address,
            OutputGradient = outputGradient.Address,
            InputGradient = inputGradient.Address,
            Rows = shape.Rows,
            Pitch = shape.Pitch,
            Kind = (int)activation.Kind,
            Parameter = activation.Parameter,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        backward.Launch(type, arguments, new RowGrid(shape.Rows, shape.Pitch, RowsPerThread, type.OwnedChannels).Geometry);
    }
}

[KernelArguments("activation.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ActivationArguments
{
    public nint Input;
    public nint Output;
    public Activity Activity;
    public int Rows;
    public int Channels;
    public int Pitch;
    public int Kind;
    public float Parameter;
}

[KernelArguments("activation.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ActivationGradientArguments
{
    public nint Input;
    public nint OutputGradient;
    public nint InputGradient;
    public int Rows;
    public int Pitch;
    public int Kind;
    public float Parameter;
    public int Accumulate;
}
